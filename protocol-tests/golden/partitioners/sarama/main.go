// What Sarama answers for the keys of keys.txt: one file for each of its hash partitioners.
//
// Usage: go run . FOLDER. A line per key, a column for 1, 6, 12 and 100 partitions; `*` where the partition changes
// although the key does not.
package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/IBM/sarama"
)

const tries = 50

func main() {
	folder := os.Args[1]
	keys, err := os.ReadFile(filepath.Join(folder, "keys.txt"))
	check(err)
	for name, make := range map[string]sarama.PartitionerConstructor{
		"hash":           sarama.NewHashPartitioner,
		"reference_hash": sarama.NewReferenceHashPartitioner,
	} {
		var table strings.Builder
		for _, line := range strings.Fields(string(keys)) {
			fmt.Fprintln(&table, row(make("t"), line))
		}
		check(os.WriteFile(filepath.Join(folder, "sarama-"+name+".txt"), []byte(table.String()), 0o644))
	}
}

func row(partitioner sarama.Partitioner, line string) string {
	message := &sarama.ProducerMessage{Topic: "t"}
	if line != "null" {
		key, err := hex.DecodeString(strings.TrimPrefix(line, "empty"))
		check(err)
		message.Key = sarama.ByteEncoder(key)
	}
	columns, anywhere := []string{}, false
	for _, count := range []int32{1, 6, 12, 100} {
		found := map[int32]bool{}
		var last int32
		for range tries {
			partition, err := partitioner.Partition(message, count)
			check(err)
			last, found[partition] = partition, true
		}
		anywhere = anywhere || len(found) > 1
		columns = append(columns, fmt.Sprint(last))
	}
	if anywhere {
		return "* * * *"
	}
	return strings.Join(columns, " ")
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
