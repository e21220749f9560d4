#include "job/inline_cache.h"

#include <gtest/gtest.h>

#include "tier/inline_records.h"
#include "tree/tree.h"

namespace varve::job {
namespace {

DiffId Layer(const char* name) { return DiffId(Digest::Of(name)); }

struct InlineCache : ::testing::Test {
  // A step on an image's files, with a second output: what it has written to another place.
  InlineCache() {
    const graph::Ref base{graph.Add({.op = graph::ImageSource{.reference = "docker.io/library/base:1"}}), 0};
    graph::Exec exec{.args = {"make"}};
    exec.mounts = {graph::Mount{.target = "/", .input = 0, .output = 0}, graph::Mount{.target = "/out", .output = 1}};
    run = graph.Add({.op = exec, .inputs = {base}});
    record.key = StepKey(Digest::Of("run"));
    record.outputs = {{{Layer("base"), Layer("made")}, Digest::Of("root tree")},
                      {{Layer("out")}, Digest::Of("out tree")}};
  }
  std::vector<tier::InlineRecord> Of(uint32_t output, std::vector<DiffId> layers) {
    exporter::ImageInput image;
    image.config = oci::ImageConfig::Scratch(oci::HostPlatform());
    image.config.set_diff_ids(layers);
    image.rootfs.layers = std::move(layers);
    tree::MemoryTreeStore trees;
    EXPECT_TRUE(AddInlineCache(graph, graph::Ref{run, output}, {{run, record}}, trees, image));
    auto records = tier::GetInlineRecords(image.config);
    EXPECT_TRUE(records);
    return records ? *records : std::vector<tier::InlineRecord>();
  }

  graph::Graph graph;
  graph::StepIndex run = 0;
  cache::StepRecord record;
};

TEST_F(InlineCache, HoldsAStepOfWhichOneOutputIsTheImage) {
  EXPECT_EQ(Of(1, {Layer("out")}),
            (std::vector<tier::InlineRecord>{{record.key, {0}, {{0, Digest::Of("root tree")}}}}));
  EXPECT_EQ(Of(0, {Layer("base"), Layer("made")}),
            (std::vector<tier::InlineRecord>{{record.key, {0, 1}, {{1, Digest::Of("out tree")}}}}));
}

TEST_F(InlineCache, HoldsNothingOfAStepThatIsNotInTheImage) {
  EXPECT_TRUE(Of(1, {Layer("another")}).empty());
  record.outputs[0].tree_root = Digest();  // what the other output was is not known
  EXPECT_TRUE(Of(1, {Layer("out")}).empty());
}

}  // namespace
}  // namespace varve::job
