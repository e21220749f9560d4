// Traces from foreign hands, as a tier's records hold them: what decodes is read back the same, and a
// damaged one decides nothing and crashes nowhere.
//
// Input: a byte, how much of the rest are times (in 256ths); the rest is an encoded read set.
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "engine/no_runner.h"
#include "engine/replay.h"
#include "tree/read_set.h"
#include "tree/tree.h"

namespace {

using namespace varve;

class Timed final : public engine::NoRunner {
 public:
  Result<Timestamp> TimeOf(const DiffId&, const RelPath&) override { return Timestamp{1}; }
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
  Timed runner;
  engine::WeakStep weak{.key = Digest::Of("k"),
                        .stacks = {{.layers = {DiffId(root)}, .trees = {root}, .merged = root}}};
  cache::StepTrace trace{.weak_key = weak.key, .reads = {std::move(reads)}};
  (void)engine::CheckTrace(trace, weak, store, runner).has_value();
  weak.strict_mtime = true;
  trace.times = {std::string(input.substr(input.size() - times))};
  (void)engine::CheckTrace(trace, weak, store, runner).has_value();
  return 0;
}
