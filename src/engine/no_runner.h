// For tests and fuzz targets of what asks a runner one thing or another: a runner that has nothing and runs nothing.
#pragma once

#include "engine/interfaces.h"

namespace varve::engine {

class NoRunner : public StepRunner {
 public:
  Result<RunResult> Run(const RunRequest&, StepSink&, std::stop_token) override { return Internal("not here"); }
  Result<std::vector<cache::Rootfs>> Obtain(const graph::Graph&, graph::StepIndex, const std::vector<cache::Rootfs>&,
                                            StepSink&, std::stop_token) override {
    return Internal("not here");
  }
  Result<LayerContent> ContentOf(const DiffId&, bool) override { return Internal("not here"); }
  Result<Timestamp> TimeOf(const DiffId&, const RelPath&) override { return Internal("not here"); }
  Result<PackageLayer> PackagesOf(const DiffId&, const std::string&) override { return Internal("not here"); }
  Result<bool> Touches(const DiffId&, const std::vector<std::string>&) override { return Internal("not here"); }
  Result<cache::Rootfs> Stack(const graph::Graph&, graph::StepIndex, const cache::Rootfs&, const DiffId&, StepSink&,
                              std::stop_token) override {
    return Internal("not here");
  }
  Result<std::optional<ForeseenLayer>> Foresee(const graph::Graph&, graph::StepIndex,
                                               const std::vector<cache::Rootfs>&) override {
    return std::nullopt;
  }
  Result<Digest> TreeOn(const Digest&, const DiffId&) override { return NotFound("not here"); }
  bool HasLocally(const std::vector<cache::Rootfs>&) override { return false; }
  bool RestoreTrees(const std::vector<cache::Rootfs>&) override { return false; }
};

}  // namespace varve::engine
