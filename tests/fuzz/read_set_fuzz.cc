// Traces from foreign hands, as a tier's records hold them: what decodes is read back the same, and a
// damaged one decides nothing and crashes nowhere.
//
// Input: a byte, how much of the rest are times (in 256ths); the rest is an encoded read set.
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "engine/replay.h"
#include "tree/read_set.h"
#include "tree/tree.h"

namespace {

using namespace varve;

class NoRunner final : public engine::StepRunner {
 public:
  Result<engine::RunResult> Run(const engine::RunRequest&, engine::StepSink&, std::stop_token) override {
    return Internal("not here");
  }
  Result<std::vector<cache::Rootfs>> Obtain(const graph::Graph&, graph::StepIndex, const std::vector<cache::Rootfs>&,
                                            engine::StepSink&, std::stop_token) override {
    return Internal("not here");
  }
  Result<engine::LayerContent> ContentOf(const DiffId&, bool) override { return Internal("not here"); }
  Result<Timestamp> TimeOf(const DiffId&, const RelPath&) override { return Timestamp{1}; }
  Result<engine::PackageLayer> PackagesOf(const DiffId&, const std::string&) override { return Internal("not here"); }
  Result<bool> Touches(const DiffId&, const std::vector<std::string>&) override { return Internal("not here"); }
  Result<cache::Rootfs> Stack(const graph::Graph&, graph::StepIndex, const cache::Rootfs&, const DiffId&,
                              engine::StepSink&, std::stop_token) override {
    return Internal("not here");
  }
  Result<std::optional<engine::ForeseenLayer>> Foresee(const graph::Graph&, graph::StepIndex,
                                                const std::vector<cache::Rootfs>&) override {
    return std::nullopt;
  }
  Result<Digest> TreeOn(const Digest&, const DiffId&) override { return NotFound("not here"); }
  bool HasLocally(const std::vector<cache::Rootfs>&) override { return false; }
  bool RestoreTrees(const std::vector<cache::Rootfs>&) override { return false; }
};

// The paths that the seeds ask for, and each type.
Digest SomeTree(tree::TreeStore& store) {
  tree::TreeEditor edit(store, tree::EmptyTree());
  tree::Node directory{.type = tree::NodeType::kDirectory, .mode = 0755};
  tree::Node file{.mode = 0644, .size = 1, .digest = Digest::Of("a")};
  tree::Node link{.type = tree::NodeType::kSymlink, .mode = 0777, .target = "a.js"};
  CHECK(edit.Put(RelPath("app"), directory).has_value());
  CHECK(edit.Put(RelPath("app/a.js"), file).has_value());
  CHECK(edit.Put(RelPath("app/link"), link).has_value());
  CHECK(edit.Put(RelPath("app/lib"), directory).has_value());
  auto root = edit.Commit();
  CHECK(root.has_value());
  return *root;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static tree::MemoryTreeStore store;
  static const Digest root = SomeTree(store);
  if (size == 0) return 0;
  std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  size_t times = input.size() * data[0] / 256;
  std::string reads(input.substr(0, input.size() - times));
  if (auto set = tree::DecodeReadSet(reads)) {
    auto again = tree::DecodeReadSet(tree::EncodeReadSet(*set));
    CHECK(again && *again == *set);
  }
  NoRunner runner;
  engine::WeakStep weak{.key = Digest::Of("k"), .traced = {{DiffId(root)}}, .trees = {root}};
  cache::StepTrace trace{.weak_key = weak.key, .reads = {std::move(reads)}};
  (void)engine::CheckTrace(trace, weak, store, runner).has_value();
  weak.strict_mtime = true;
  trace.times = {std::string(input.substr(input.size() - times))};
  (void)engine::CheckTrace(trace, weak, store, runner).has_value();
  return 0;
}
