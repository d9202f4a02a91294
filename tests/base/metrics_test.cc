#include "base/metrics.h"

#include <gtest/gtest.h>

namespace m2 {
namespace {

TEST(Metrics, RendersEachKindWithItsLabels) {
  Metrics metrics;
  Counter counter = metrics.counter("vllm:requests_total", "Requests", {{"model_name", "a/b"}});
  counter.add();
  counter.add(2);
  metrics.gauge("vllm:running", "Running", {}).set(4);
  metrics.histogram("vllm:seconds", "Seconds", {}, {0.5, 1}).observe(0.7);
  const std::string text = metrics.render();
  EXPECT_NE(text.find("vllm:requests_total{model_name=\"a/b\"} 3"), std::string::npos) << text;
  EXPECT_NE(text.find("vllm:running 4"), std::string::npos) << text;
  EXPECT_NE(text.find("vllm:seconds_bucket{le=\"0.5\"} 0"), std::string::npos) << text;
  EXPECT_NE(text.find("vllm:seconds_bucket{le=\"1\"} 1"), std::string::npos) << text;
  EXPECT_NE(text.find("vllm:seconds_count 1"), std::string::npos) << text;
}

TEST(Metrics, LabelSetsOfOneNameShareAFamily) {
  Metrics metrics;
  metrics.counter("done_total", "Done", {{"reason", "stop"}}).add();
  metrics.counter("done_total", "Done", {{"reason", "length"}}).add(5);
  const std::string text = metrics.render();
  EXPECT_EQ(text.find("# TYPE done_total"), text.rfind("# TYPE done_total")) << text;
  EXPECT_NE(text.find("done_total{reason=\"length\"} 5"), std::string::npos) << text;
}

TEST(Metrics, ATotalKeptElsewhereNeverFalls) {
  Metrics metrics;
  Counter counter = metrics.counter("steps_total", "Steps", {});
  counter.advance_to(7);
  counter.advance_to(3);
  EXPECT_NE(metrics.render().find("steps_total 7"), std::string::npos);
}

}  // namespace
}  // namespace m2
