// Makes a broker take part in client telemetry (KIP-714), which it does only with a plugin that receives it.

import java.util.*;
import org.apache.kafka.common.metrics.*;
import org.apache.kafka.server.telemetry.*;

public class GoldenTelemetry implements MetricsReporter, ClientTelemetry {
    @Override public ClientTelemetryReceiver clientReceiver() { return (context, payload) -> { }; }
    @Override public void init(List<KafkaMetric> metrics) { }
    @Override public void metricChange(KafkaMetric metric) { }
    @Override public void metricRemoval(KafkaMetric metric) { }
    @Override public void configure(Map<String, ?> configuration) { }
    @Override public void close() { }
}
