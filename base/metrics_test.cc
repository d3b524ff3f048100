#include "base/metrics.h"

#include <gtest/gtest.h>

namespace berth {
namespace {

TEST(Metrics, SamplesAndLabels) {
  PrometheusText text;
  text.Family("x_total", PrometheusText::Type::kCounter, "How many.");
  text.Sample({}, 7);
  text.Sample({{"a", "plain"}, {"b", "q\"b\\n\n\xff"}}, 0);
  text.Family("y_seconds", PrometheusText::Type::kGauge, "When.");
  text.Seconds({}, 1'700'000'000'123'456'789);
  text.Seconds({}, 3'000'000'000);
  text.Seconds({}, 0);
  text.Seconds({}, -1'500'000'000);
  EXPECT_EQ(text.Take(),
            "# HELP x_total How many.\n# TYPE x_total counter\nx_total 7\n"
            "x_total{a=\"plain\",b=\"q\\\"b\\\\n\\n\xef\xbf\xbd\"} 0\n"
            "# HELP y_seconds When.\n# TYPE y_seconds gauge\ny_seconds 1700000000.123456789\n"
            "y_seconds 3\ny_seconds 0\ny_seconds -1.5\n");
}

TEST(Metrics, HistogramsCountUpwards) {
  DurationHistogram histogram;
  histogram.Observe(1'000'000);  // a bound belongs to its bucket
  histogram.Observe(1'000'001);
  histogram.Observe(3'600'000'000'000);
  PrometheusText text;
  text.Family("h", PrometheusText::Type::kHistogram, "Time.");
  text.Histogram({{"m", "A"}}, histogram);
  const std::string out = text.Take();
  for (const char* line :
       {"h_bucket{m=\"A\",le=\"0.001\"} 1\n", "h_bucket{m=\"A\",le=\"0.005\"} 2\n",
        "h_bucket{m=\"A\",le=\"300\"} 2\n", "h_bucket{m=\"A\",le=\"+Inf\"} 3\n",
        "h_sum{m=\"A\"} 3600.002000001\n", "h_count{m=\"A\"} 3\n"}) {
    EXPECT_NE(out.find(line), std::string::npos) << line << out;
  }
}

}  // namespace
}  // namespace berth
