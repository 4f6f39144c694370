import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.LongPredicate;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.message.LeaderChangeMessage;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.record.internal.SimpleRecord;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.common.utils.ByteBufferOutputStream;

/** Writes regions of record batches with Kafka's own classes, and beside each what Kafka's own reader makes of it. See README.md. */
public class RecordGoldens {
    static final long TIME = 1_500_000_000_000L;
    static final List<String> OLD_CODECS = List.of("none", "gzip", "snappy", "lz4");
    static Path folder;

    public static void main(String[] args) throws Exception {
        folder = Path.of(args[0]);
        for (String codec : OLD_CODECS) {
            save("v0-" + codec, old(0, codec, TimestampType.NO_TIMESTAMP_TYPE));
            save("v1-" + codec, old(1, codec, TimestampType.CREATE_TIME));
            save("v1-" + codec + "-log-append-time", old(1, codec, TimestampType.LOG_APPEND_TIME));
        }
        for (String codec : List.of("none", "gzip")) {
            save("v0-" + codec + "-compacted", compacted(0, codec));
            save("v1-" + codec + "-compacted", compacted(1, codec));
            save("v2-" + codec + "-compacted", compacted(2, codec));
        }
        save("mixed", join(
            old(0, "none", TimestampType.NO_TIMESTAMP_TYPE), shifted(1, "none", 200), shifted(1, "lz4", 300),
            shifted(2, "none", 400), shifted(1, "snappy", 500), shifted(2, "zstd", 600)));
        save("v2-headers", built(2, "none", TimestampType.CREATE_TIME, -1, b -> {
            Header[] headers = {header("same", "1"), header("same", null), header("", ""), header("same", "1"), header("other", "x")};
            b.appendWithOffset(100, TIME, bytes("key"), bytes("value"), headers);
            b.appendWithOffset(101, TIME - 5, (byte[]) null, null, new Header[0]);
        }));
        save("v2-log-append-time", built(2, "none", TimestampType.LOG_APPEND_TIME, -1, RecordGoldens::five));
        save("v2-delete-horizon", built(2, "none", TimestampType.CREATE_TIME, TIME + 86_400_000, RecordGoldens::five));
        save("v2-idempotent", MemoryRecords.withIdempotentRecords(100, Compression.NONE, 7, (short) 3, 11, 5, simple()).buffer());
        save("v2-transactional", MemoryRecords.withTransactionalRecords(100, Compression.NONE, 7, (short) 3, 11, 5, simple()).buffer());
        save("v2-abort", MemoryRecords.withEndTransactionMarker(105, TIME, 5, 7, (short) 3, new EndTransactionMarker(ControlRecordType.ABORT, 9)).buffer());
        save("v2-commit", MemoryRecords.withEndTransactionMarker(106, TIME, 5, 7, (short) 3, new EndTransactionMarker(ControlRecordType.COMMIT, 9)).buffer());
        save("v2-leader-change", MemoryRecords.withLeaderChangeMessage(107, TIME, 5, ByteBuffer.allocate(256), new LeaderChangeMessage().setLeaderId(1)).buffer());
        save("v2-compacted-empty", filtered(built(2, "gzip", TimestampType.CREATE_TIME, -1, RecordGoldens::five), offset -> false));
        save("v2-compacted-tail", filtered(built(2, "lz4", TimestampType.CREATE_TIME, -1, RecordGoldens::five), offset -> offset == 101));
    }

    static ByteBuffer old(int magic, String codec, TimestampType type) {
        return built(magic, codec, type, -1, RecordGoldens::five);
    }

    static void five(MemoryRecordsBuilder builder) {
        five(builder, 100);
    }

    static void five(MemoryRecordsBuilder builder, long base) {
        five(builder, base, offset -> true);
    }

    static void five(MemoryRecordsBuilder builder, long base, LongPredicate wanted) {
        SimpleRecord[] records = {
            new SimpleRecord(TIME, null, bytes("alpha")),
            new SimpleRecord(TIME + 20, bytes("key"), bytes("bravo")),
            new SimpleRecord(TIME + 10, bytes("tombstone"), null),
            new SimpleRecord(TIME - 7, bytes(""), bytes("")),
            new SimpleRecord(TIME + 30, null, bytes("charlie ".repeat(20))),
        };
        for (int i = 0; i < records.length; i++) {
            if (wanted.test(base + i)) {
                long time = builder.magic() == 0 ? RecordBatch.NO_TIMESTAMP : records[i].timestamp();
                builder.appendWithOffset(base + i, time, records[i].key(), records[i].value(), new Header[0]);
            }
        }
    }

    static ByteBuffer shifted(int magic, String codec, long base) {
        return built(magic, codec, TimestampType.CREATE_TIME, -1, builder -> five(builder, base), base);
    }

    /** The cleaner of today turns old formats into format 2; those of their time left holes in messages and wrappers. */
    static ByteBuffer compacted(int magic, String codec) {
        LongPredicate wanted = offset -> offset == 101 || offset == 104;
        if (magic == 2) {
            return filtered(old(magic, codec, TimestampType.CREATE_TIME), wanted);
        }
        TimestampType type = magic == 0 ? TimestampType.NO_TIMESTAMP_TYPE : TimestampType.CREATE_TIME;
        return built(magic, codec, type, -1, builder -> five(builder, 100, wanted));
    }

    static ByteBuffer built(int magic, String codec, TimestampType type, long horizon, Consumer<MemoryRecordsBuilder> fill) {
        return built(magic, codec, type, horizon, fill, 100);
    }

    static ByteBuffer built(
        int magic, String codec, TimestampType type, long horizon, Consumer<MemoryRecordsBuilder> fill, long base) {
        long appendTime = type == TimestampType.LOG_APPEND_TIME ? TIME + 1000 : RecordBatch.NO_TIMESTAMP;
        ByteBufferOutputStream out = new ByteBufferOutputStream(ByteBuffer.allocate(4096));
        MemoryRecordsBuilder builder = new MemoryRecordsBuilder(
            out, (byte) magic, Compression.of(codec).build(), type, base, appendTime, -1, (short) -1, -1,
            false, false, magic == 2 ? 5 : -1, 4096, horizon);
        fill.accept(builder);
        return builder.build().buffer();
    }

    /** What Kafka's log cleaner leaves: the records whose offset is wanted, and batches that are empty. */
    static ByteBuffer filtered(ByteBuffer region, LongPredicate wanted) { // Format 2 only.
        ByteBuffer out = ByteBuffer.allocate(4096);
        MemoryRecords.readableRecords(region).filterTo(new MemoryRecords.RecordFilter(0, 0) {
            @Override
            protected BatchRetentionResult checkBatchRetention(RecordBatch batch) {
                return new BatchRetentionResult(BatchRetention.RETAIN_EMPTY, false);
            }

            @Override
            protected boolean shouldRetainRecord(RecordBatch batch, Record record) {
                return wanted.test(record.offset());
            }
        }, out, BufferSupplier.NO_CACHING);
        out.flip();
        return out;
    }

    static void save(String name, ByteBuffer region) throws Exception {
        byte[] whole = new byte[region.remaining()];
        region.duplicate().get(whole);
        StringBuilder text = new StringBuilder(HexFormat.of().formatHex(whole)).append('\n');
        for (RecordBatch batch : MemoryRecords.readableRecords(ByteBuffer.wrap(whole)).batches()) {
            batch.ensureValid();
            text.append("batch magic ").append(batch.magic()).append(" next ").append(batch.nextOffset());
            batch.deleteHorizonMs().ifPresent(horizon -> text.append(" horizon ").append(horizon));
            if (batch.magic() == 2) {
                text.append(" base ").append(batch.baseOffset()).append(" max ").append(batch.maxTimestamp())
                    .append(" epoch ").append(batch.partitionLeaderEpoch()).append(" producer ").append(batch.producerId())
                    .append(' ').append(batch.producerEpoch()).append(' ').append(batch.baseSequence())
                    .append(batch.isTransactional() ? " transactional" : "").append(batch.isControlBatch() ? " control" : "");
            }
            text.append('\n');
            for (Record record : batch) {
                text.append(record.offset()).append(' ').append(record.timestamp());
                text.append(' ').append(hex(record.key())).append(' ').append(hex(record.value()));
                for (Header header : record.headers()) {
                    text.append(' ').append(header.key()).append('=');
                    text.append(header.value() == null ? "null" : HexFormat.of().formatHex(header.value()));
                }
                text.append('\n');
            }
        }
        Files.writeString(folder.resolve(name + ".txt"), text);
    }

    static String hex(ByteBuffer field) {
        if (field == null) {
            return "null";
        }
        byte[] bytes = new byte[field.remaining()];
        field.get(bytes);
        return '"' + HexFormat.of().formatHex(bytes) + '"';
    }

    static ByteBuffer join(ByteBuffer... regions) {
        ByteBuffer out = ByteBuffer.allocate(8192);
        Arrays.stream(regions).forEach(out::put);
        out.flip();
        return out;
    }

    static SimpleRecord[] simple() {
        return new SimpleRecord[] {
            new SimpleRecord(TIME, null, bytes("alpha")),
            new SimpleRecord(TIME + 1, bytes("key"), bytes("bravo")),
        };
    }

    static Header header(String key, String value) {
        return new RecordHeader(key, value == null ? null : bytes(value));
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
