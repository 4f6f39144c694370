// franz-go against a cluster: topics, every codec, a group, transactions.
//
// Usage: go run . BOOTSTRAP [WORD...]: runs the stories whose names have one of the words, or all.
package main

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const patience = 40 * time.Second

var bootstrap []string

type story struct {
	name string
	tell func(ctx context.Context, name string) error
}

var stories = []story{
	{"topics are made, described, grown and deleted", topics},
	{"every codec comes back equal", codecs},
	{"two members share a group", sharedGroup},
	{"committed transactions are read and aborted ones are not", transactions},
	{"consume, transform, produce in transactions", exactlyOnce},
}

func main() {
	bootstrap = strings.Split(os.Args[1], ",")
	words, passed, failed := os.Args[2:], 0, 0
	for number, it := range stories {
		if !chosen(it.name, words) {
			continue
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := it.tell(ctx, fmt.Sprintf("franz-%d-%d", os.Getpid(), number)); err != nil {
			failed++
			fmt.Printf("FAILED franz-go: %s\n%v\n", it.name, err)
		} else {
			passed++
			fmt.Printf("ok franz-go: %s (%.1f s)\n", it.name, time.Since(began).Seconds())
		}
		cancel()
	}
	fmt.Printf("franz-go: %d passed, %d failed\n", passed, failed)
	if failed > 0 || passed == 0 {
		os.Exit(1)
	}
}

func chosen(name string, words []string) bool {
	for _, word := range words {
		if strings.Contains(name, word) {
			return true
		}
	}
	return len(words) == 0
}

func topics(ctx context.Context, name string) error {
	admin := kadm.NewClient(client())
	defer admin.Close()
	if err := makeTopic(ctx, name, 3); err != nil {
		return err
	}
	if _, err := admin.CreatePartitions(ctx, 2, name); err != nil {
		return err
	}
	for {
		described, err := admin.ListTopics(ctx, name)
		if err != nil {
			return err
		}
		if len(described[name].Partitions) == 5 {
			break
		}
	}
	deleted, err := admin.DeleteTopics(ctx, name)
	if err != nil {
		return err
	}
	return deleted.Error()
}

func codecs(ctx context.Context, name string) error {
	if err := makeTopic(ctx, name, 2); err != nil {
		return err
	}
	var sent []string
	for codec, compression := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		producer := client(kgo.ProducerBatchCompression(compression), kgo.ProducerLinger(5*time.Millisecond))
		var records []*kgo.Record
		for number := 0; number < 300; number++ {
			value := fmt.Sprintf("%s %d %s", codec, number, strings.Repeat("x", number))
			sent = append(sent, value)
			records = append(records, &kgo.Record{Topic: name, Value: []byte(value)})
		}
		err := producer.ProduceSync(ctx, records...).FirstErr()
		producer.Close()
		if err != nil {
			return err
		}
	}
	return readExactly(ctx, name, sent)
}

func sharedGroup(ctx context.Context, name string) error {
	if err := makeTopic(ctx, name, 4); err != nil {
		return err
	}
	if err := produce(ctx, name, 0, 400); err != nil {
		return err
	}
	first := member(name)
	seen, err := pollUntil(ctx, first, 400)
	if err != nil {
		return err
	}
	if err := first.CommitUncommittedOffsets(ctx); err != nil {
		return err
	}
	second := member(name)
	defer second.Close()
	admin := kadm.NewClient(client())
	defer admin.Close()
	for owners := 0; owners < 2; {
		first.PollFetches(soon(ctx))
		second.PollFetches(soon(ctx))
		described, err := admin.DescribeGroups(ctx, name)
		if err != nil {
			return err
		}
		owners = 0
		for _, it := range described[name].Members {
			if assigned, ok := it.Assigned.AsConsumer(); ok && len(assigned.Topics) == 1 && len(assigned.Topics[0].Partitions) == 2 {
				owners++
			}
		}
	}
	first.Close()
	if err := produce(ctx, name, 400, 500); err != nil {
		return err
	}
	more, err := pollUntil(ctx, second, 100)
	if err != nil {
		return err
	}
	return equal(append(seen, more...), numbers(500))
}

func transactions(ctx context.Context, name string) error {
	if err := makeTopic(ctx, name, 2); err != nil {
		return err
	}
	producer := client(kgo.TransactionalID(name))
	defer producer.Close()
	var committed []string
	for number := 0; number < 6; number++ {
		if err := producer.BeginTransaction(); err != nil {
			return err
		}
		for part := 0; part < 10; part++ {
			value := fmt.Sprintf("%d.%d", number, part)
			producer.Produce(ctx, &kgo.Record{Topic: name, Value: []byte(value)}, nil)
			if number%2 == 1 {
				committed = append(committed, value)
			}
		}
		if err := producer.Flush(ctx); err != nil {
			return err
		}
		if err := producer.EndTransaction(ctx, kgo.TransactionEndTry(number%2 == 1)); err != nil {
			return err
		}
	}
	return readExactly(ctx, name, committed)
}

func exactlyOnce(ctx context.Context, name string) error {
	source, target := name+"-source", name+"-target"
	for _, topic := range []string{source, target} {
		if err := makeTopic(ctx, topic, 1); err != nil {
			return err
		}
	}
	if err := produce(ctx, source, 0, 100); err != nil {
		return err
	}
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(bootstrap...), kgo.TransactionalID(name),
		kgo.ConsumerGroup(name), kgo.ConsumeTopics(source), kgo.DefaultProduceTopic(target),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer session.Close()
	for done, attempt := 0, 0; done < 100; attempt++ {
		fetches := session.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		if err := session.Begin(); err != nil {
			return err
		}
		fetches.EachRecord(func(it *kgo.Record) { session.Produce(ctx, kgo.SliceRecord(it.Value), nil) })
		// The first attempt is given up, and its records have to come again.
		ended, err := session.End(ctx, kgo.TransactionEndTry(attempt > 0))
		if err != nil {
			return err
		}
		if ended {
			done += fetches.NumRecords()
		}
	}
	return readExactly(ctx, target, numbers(100))
}

func client(more ...kgo.Opt) *kgo.Client {
	made, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(bootstrap...)}, more...)...)
	if err != nil {
		panic(err)
	}
	return made
}

func member(group string) *kgo.Client {
	return client(kgo.ConsumerGroup(group), kgo.ConsumeTopics(group), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(300*time.Millisecond))
}

func makeTopic(ctx context.Context, name string, partitions int32) error {
	admin := kadm.NewClient(client())
	defer admin.Close()
	made, err := admin.CreateTopics(ctx, partitions, 1, nil, name)
	if err != nil {
		return err
	}
	return made.Error()
}

func produce(ctx context.Context, topic string, from, to int) error {
	producer := client()
	defer producer.Close()
	for _, value := range numbers(to)[from:] {
		producer.Produce(ctx, &kgo.Record{Topic: topic, Key: []byte(value), Value: []byte(value)}, nil)
	}
	return producer.Flush(ctx)
}

func numbers(count int) []string {
	var all []string
	for number := 0; number < count; number++ {
		all = append(all, fmt.Sprint(number))
	}
	return all
}

// readExactly reads what is committed in a topic, and waits a little for what should not be there.
func readExactly(ctx context.Context, topic string, expected []string) error {
	reader := client(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	defer reader.Close()
	found, err := pollUntil(ctx, reader, len(expected))
	if err != nil {
		return err
	}
	reader.PollFetches(soon(ctx)).EachRecord(func(it *kgo.Record) { found = append(found, string(it.Value)) })
	return equal(found, expected)
}

func pollUntil(ctx context.Context, reader *kgo.Client, count int) ([]string, error) {
	var found []string
	for len(found) < count {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("after %d of %d records: %w", len(found), count, err)
		}
		fetches.EachRecord(func(it *kgo.Record) { found = append(found, string(it.Value)) })
	}
	return found, nil
}

func soon(ctx context.Context) context.Context {
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	context.AfterFunc(short, cancel)
	return short
}

func equal(found, expected []string) error {
	sort.Strings(found)
	sort.Strings(expected)
	if strings.Join(found, "\n") != strings.Join(expected, "\n") {
		return fmt.Errorf("%d records are not the %d expected", len(found), len(expected))
	}
	return nil
}
