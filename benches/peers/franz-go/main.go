// franz-go under the flags of milena perf.
//
// A partition gets whole batches (the client's default moves on every 64 KiB, which costs it 6 %), and records come
// from slabs of 256, as a user who counts allocations would have them.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/bits"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const pool = 65536

type options struct {
	brokers, topic, codec, acks, payload     string
	count, rate, secs, tasks                 int
	size, linger, batch, keySize, partitions int
	threads                                  int
}

func main() {
	if len(os.Args) < 2 {
		fail(fmt.Errorf("produce, latency or await"))
	}
	var o options
	work := os.Args[1]
	flags := flag.NewFlagSet(work, flag.ExitOnError)
	flags.StringVar(&o.brokers, "brokers", "", "")
	flags.StringVar(&o.topic, "topic", "", "")
	flags.StringVar(&o.codec, "codec", "none", "")
	flags.StringVar(&o.acks, "acks", "all", "")
	flags.StringVar(&o.payload, "payload", "random-text", "")
	flags.IntVar(&o.count, "count", 1000000, "")
	flags.IntVar(&o.rate, "rate", 1000, "")
	flags.IntVar(&o.secs, "secs", 10, "")
	flags.IntVar(&o.tasks, "tasks", 100, "")
	flags.IntVar(&o.size, "size", 100, "")
	flags.IntVar(&o.linger, "linger", 5, "")
	flags.IntVar(&o.batch, "batch", 1000000, "")
	flags.IntVar(&o.keySize, "key-size", 0, "")
	flags.IntVar(&o.partitions, "partitions", 0, "taken and ignored: the topic is there")
	flags.IntVar(&o.threads, "threads", 0, "GOMAXPROCS; 0 is Go's own choice")
	fail(flags.Parse(os.Args[2:]))
	if o.threads > 0 {
		runtime.GOMAXPROCS(o.threads)
	}

	values, keys := payloads(&o)
	making := time.Now()
	client, err := kgo.NewClient(settings(&o)...)
	fail(err)
	fail(client.Ping(context.Background()))
	start := time.Since(making)
	setup, begun := cpu(), time.Now()
	var times *histogram
	records := o.count
	switch work {
	case "produce":
		produce(client, &o, values, keys)
	case "latency":
		records = o.rate * o.secs
		times = latency(client, &o, records, values, keys)
	case "await":
		times = await(client, &o, values, keys)
	default:
		fail(fmt.Errorf("%s is neither produce, latency nor await", work))
	}
	fail(client.Flush(context.Background()))
	client.Close()
	report(&o, records, time.Since(begun), start, setup, times)
}

func settings(o *options) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(strings.Split(o.brokers, ",")...),
		kgo.DefaultProduceTopic(o.topic),
		kgo.ProducerLinger(time.Duration(o.linger) * time.Millisecond),
		kgo.ProducerBatchMaxBytes(int32(o.batch)),
		kgo.MaxBufferedRecords(1000000),
		kgo.MaxBufferedBytes(128 << 20),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
	}
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	opts = append(opts, kgo.ProducerBatchCompression(codecs[o.codec]))
	switch o.acks {
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	}
	return opts
}

func produce(client *kgo.Client, o *options, values, keys [][]byte) {
	var failed atomic.Int64
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.Add(1)
		}
	}
	ctx := context.Background()
	var slab []kgo.Record
	for number := 0; number < o.count; number++ {
		if len(slab) == 0 {
			slab = make([]kgo.Record, 256)
		}
		record := &slab[0]
		slab = slab[1:]
		record.Key, record.Value = keys[number%len(keys)], values[number%len(values)]
		client.Produce(ctx, record, promise)
	}
	fail(client.Flush(ctx))
	if failed.Load() > 0 {
		fail(fmt.Errorf("%d records failed", failed.Load()))
	}
}

func latency(client *kgo.Client, o *options, count int, values, keys [][]byte) *histogram {
	ctx := context.Background()
	first := &kgo.Record{Key: keys[0], Value: values[0]}
	fail(client.ProduceSync(ctx, first).FirstErr())
	times := &histogram{}
	begun := time.Now()
	for sent := 0; sent < count; {
		due := min(int(time.Since(begun).Seconds()*float64(o.rate))+1, count)
		for ; sent < due; sent++ {
			called := time.Now()
			record := &kgo.Record{Key: keys[sent%len(keys)], Value: values[sent%len(values)]}
			client.Produce(ctx, record, func(_ *kgo.Record, err error) {
				fail(err)
				times.count(time.Since(called))
			})
		}
		// Go's own sleep ends on the next millisecond where nothing else is to be done; the kernel's does not.
		next := begun.Add(time.Duration(float64(sent) / float64(o.rate) * 1e9))
		if left := time.Until(next); left > 0 {
			pause := syscall.NsecToTimespec(int64(left))
			_ = syscall.Nanosleep(&pause, nil)
		}
	}
	fail(client.Flush(ctx))
	return times
}

func await(client *kgo.Client, o *options, values, keys [][]byte) *histogram {
	var wait sync.WaitGroup
	var taken atomic.Int64
	times := &histogram{}
	for range o.tasks {
		wait.Go(func() {
			begun := time.Now()
			for {
				number := int(taken.Add(1) - 1)
				if number >= o.count {
					return
				}
				record := &kgo.Record{Key: keys[number%len(keys)], Value: values[number%len(values)]}
				fail(client.ProduceSync(context.Background(), record).FirstErr())
				now := time.Now()
				times.count(now.Sub(begun))
				begun = now
			}
		})
	}
	wait.Wait()
	return times
}

// The same texts as milena's: src/bin/milena/perf/payload.rs.
func payloads(o *options) (values, keys [][]byte) {
	keys, values = [][]byte{nil}, [][]byte{[]byte(strings.Repeat("x", o.size))}
	if o.payload == "random-text" {
		text, err := os.ReadFile(os.Getenv("PEERS_WORDS"))
		fail(err)
		words, random := strings.Fields(string(text)), uint64(42)
		values = make([][]byte, texts(o.size))
		for i := range values {
			value := make([]byte, 0, o.size+16)
			for len(value) < o.size {
				value = append(append(value, words[next(&random)%uint64(len(words))]...), ' ')
			}
			values[i] = value[:o.size]
		}
	}
	if o.keySize > 0 {
		keys = make([][]byte, pool)
		for i := range keys {
			key := fmt.Sprintf("%0*d", o.keySize, i)
			keys[i] = []byte(key[len(key)-o.keySize:])
		}
	}
	return values, keys
}

// At most 256 MiB of them, and never fewer than 64.
func texts(size int) int {
	fit := min(max((256<<20)/max(size, 1), 64), pool)
	return 1 << (bits.Len(uint(fit)) - 1)
}

func next(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	mixed := (*state ^ (*state >> 30)) * 0xbf58476d1ce4e5b9
	mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb
	return mixed ^ (mixed >> 31)
}

// The classes of milena's histogram: 64 to a power of two.
type histogram struct {
	mutex   sync.Mutex
	counts  [64 * 60]uint64
	all     uint64
	longest time.Duration
}

func (h *histogram) count(time time.Duration) {
	nanos := uint64(max(time, 0))
	class := int(nanos)
	if nanos >= 128 {
		shift := bits.Len64(nanos) - 7
		class = shift*64 + int(nanos>>shift)
	}
	h.mutex.Lock()
	h.counts[class]++
	h.all++
	h.longest = max(h.longest, time)
	h.mutex.Unlock()
}

func (h *histogram) quantile(share float64) float64 {
	wanted, seen := max(uint64(math.Ceil(float64(h.all)*share)), 1), uint64(0)
	for class, count := range h.counts {
		if seen += count; seen >= wanted {
			longest := uint64(class)
			if class >= 128 {
				longest = (uint64(class%64+64)+1)<<(class/64-1) - 1
			}
			return float64(min(longest, uint64(h.longest))) / 1e3
		}
	}
	return 0
}

func report(o *options, records int, wall, start, setup time.Duration, times *histogram) {
	line := map[string]any{
		"records": records, "wall_s": wall.Seconds(), "setup_cpu_s": setup.Seconds(), "cpu_s": (cpu() - setup).Seconds(),
		"records_s": float64(records) / wall.Seconds(), "peak_rss_mb": peak(), "start_us": float64(start.Nanoseconds()) / 1e3,
		"mb_s": float64(records) * float64(o.size+o.keySize) / 1e6 / wall.Seconds(),
	}
	if times != nil {
		line["p50_us"], line["p99_us"], line["p999_us"] = times.quantile(0.5), times.quantile(0.99), times.quantile(0.999)
		line["max_us"] = float64(times.longest) / 1e3
	}
	text, err := json.Marshal(line)
	fail(err)
	fmt.Println(string(text))
}

func cpu() time.Duration {
	var usage syscall.Rusage
	fail(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func peak() float64 {
	status, err := os.ReadFile("/proc/self/status")
	fail(err)
	for _, line := range strings.Split(string(status), "\n") {
		if rest, found := strings.CutPrefix(line, "VmHWM:"); found {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			fail(err)
			return float64(kib) * 1024 / 1e6
		}
	}
	return 0
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
