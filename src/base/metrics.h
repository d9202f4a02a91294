// Numbers for a monitoring system, in Prometheus' text form: a thin layer over prometheus-cpp.
// Names and labels are fixed at start-up; nothing that a client sends becomes a label.
//
// Thread-safety: making metrics before threads start; add, set, observe and render from any thread.
// Handles are small values and stay valid as long as their Metrics.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
}  // namespace prometheus

namespace m2 {

using MetricLabels = std::map<std::string, std::string>;

class Counter {
 public:
  explicit Counter(prometheus::Counter& counter) : counter_(&counter) {}
  void add(double amount = 1);
  // For a total that is kept elsewhere and only ever grows. Callers do not race with themselves.
  void advance_to(double total);

 private:
  prometheus::Counter* counter_;
};

class Gauge {
 public:
  explicit Gauge(prometheus::Gauge& gauge) : gauge_(&gauge) {}
  void set(double value);

 private:
  prometheus::Gauge* gauge_;
};

class Histogram {
 public:
  explicit Histogram(prometheus::Histogram& histogram) : histogram_(&histogram) {}
  void observe(double value);

 private:
  prometheus::Histogram* histogram_;
};

class Metrics {
 public:
  Metrics();
  ~Metrics();

  Counter counter(const std::string& name, const std::string& help, const MetricLabels& labels);
  Gauge gauge(const std::string& name, const std::string& help, const MetricLabels& labels);
  // `bounds` are the buckets' upper bounds, rising; +Inf is added.
  Histogram histogram(const std::string& name, const std::string& help, const MetricLabels& labels,
                      const std::vector<double>& bounds);

  std::string render() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace m2
