#include "base/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

namespace m2 {

void Counter::add(double amount) { counter_->Increment(amount); }

void Counter::advance_to(double total) {
  const double now = counter_->Value();
  if (total > now) counter_->Increment(total - now);
}

void Gauge::set(double value) { gauge_->Set(value); }

void Histogram::observe(double value) { histogram_->Observe(value); }

struct Metrics::Impl {
  // Merge: a second metric of a name joins its family.
  prometheus::Registry registry{prometheus::Registry::InsertBehavior::Merge};
};

Metrics::Metrics() : impl_(std::make_unique<Impl>()) {}
Metrics::~Metrics() = default;

Counter Metrics::counter(const std::string& name, const std::string& help,
                         const MetricLabels& labels) {
  auto& family = prometheus::BuildCounter().Name(name).Help(help).Register(impl_->registry);
  return Counter(family.Add(labels));
}

Gauge Metrics::gauge(const std::string& name, const std::string& help, const MetricLabels& labels) {
  auto& family = prometheus::BuildGauge().Name(name).Help(help).Register(impl_->registry);
  return Gauge(family.Add(labels));
}

Histogram Metrics::histogram(const std::string& name, const std::string& help,
                             const MetricLabels& labels, const std::vector<double>& bounds) {
  auto& family = prometheus::BuildHistogram().Name(name).Help(help).Register(impl_->registry);
  return Histogram(family.Add(labels, bounds));
}

std::string Metrics::render() const {
  return prometheus::TextSerializer().Serialize(impl_->registry.Collect());
}

}  // namespace m2
