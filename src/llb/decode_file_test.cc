// FileOps and the Ops that combine file systems.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "graph/reads.h"
#include "llb/decode_test.h"

namespace varve::llb {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class FileOps : public Llb {
 protected:
  FileOps() {
    Use(op, AddSource("docker-image://alpine"));
    Use(op, AddSource("local://src"));
  }
  pb::FileAction* Action(int64_t input, int64_t output) {
    pb::FileAction* action = op.mutable_file()->add_actions();
    action->set_input(input);
    action->set_secondary_input(-1);
    action->set_output(output);
    return action;
  }
  void MkDir(const char* path, int64_t input, int64_t output) {
    Action(input, output)->mutable_mkdir()->set_path(path);
  }
  pb::FileActionCopy* Copy(int64_t input, int64_t from, int64_t output) {
    pb::FileAction* action = Action(input, output);
    action->set_secondary_input(from);
    action->mutable_copy()->set_mode(-1);
    action->mutable_copy()->set_timestamp(-1);
    action->mutable_copy()->set_src("/a");
    action->mutable_copy()->set_dest("/b");
    return action->mutable_copy();
  }
  static const graph::FileOp& FileOf(const Decoded& decoded, const graph::Ref& ref) {
    return std::get<graph::FileOp>(decoded.graph.at(ref).op);
  }
  pb::Op op;
};

TEST_F(FileOps, AChainIsOneStep) {
  MkDir("/x", 0, -1);
  Copy(2, 1, -1);
  MkDir("/y", 3, 0);
  auto decoded = Result_(Add(op));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  ASSERT_EQ(decoded->graph.steps.size(), 3u);
  const auto& file = FileOf(*decoded, *decoded->root);
  EXPECT_EQ(file.base, 0);
  EXPECT_EQ(file.actions.size(), 3u);
}

TEST_F(FileOps, EachResultThatIsUsedEndsAStep) {
  MkDir("/x", 0, 1);   // 2: output 1
  MkDir("/y", 2, -1);  // 3: on top of it
  Copy(3, 2, 0);       // 4: takes from the first
  std::string digest = Add(op);
  auto decoded = Result_(digest);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  ASSERT_EQ(decoded->graph.steps.size(), 4u);
  const graph::Step& last = decoded->graph.at(*decoded->root);
  EXPECT_THAT(last.inputs, ElementsAre(graph::Ref{2, 0}, graph::Ref{2, 0}));
  EXPECT_EQ(FileOf(*decoded, *decoded->root).actions.size(), 2u);
  definition.mutable_def()->RemoveLast();
  decoded = Result_(digest, 1);
  EXPECT_EQ(FileOf(*decoded, *decoded->root).actions.size(), 1u);
}

TEST_F(FileOps, ACopyFromNothingReadsAnEmptyTree) {
  Copy(-1, -1, 0);
  auto decoded = Result_(Add(op));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  EXPECT_EQ(FileOf(*decoded, *decoded->root).base, -1);
  EXPECT_EQ(decoded->graph.at(*decoded->root).inputs.size(), 1u);
}

TEST_F(FileOps, NamesAreLookedUpWhereTheClientSays) {
  pb::ChownOpt* owner = Copy(0, 1, 0)->mutable_owner();
  owner->mutable_user()->mutable_by_name()->set_name("node");
  owner->mutable_group()->set_by_id(7);
  auto decoded = Result_(Add(op));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  auto copy = std::get<graph::Copy>(FileOf(*decoded, *decoded->root).actions.at(0));
  EXPECT_EQ(copy.owner.user, "node");
  EXPECT_EQ(copy.owner.group, "7");
  EXPECT_EQ(copy.owner.names_of, -1);
  definition.mutable_def()->RemoveLast();
  op.mutable_file()->mutable_actions(0)->mutable_copy()->mutable_owner()->mutable_user()->mutable_by_name()->set_input(
      1);
  decoded = Result_(Add(op));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  copy = std::get<graph::Copy>(FileOf(*decoded, *decoded->root).actions.at(0));
  EXPECT_EQ(copy.owner.names_of, 1);
  EXPECT_EQ(graph::InputUses(decoded->graph.at(*decoded->root))[1].selectors.size(), 3u);
}

TEST_F(FileOps, CopyOptionsAreKept) {
  pb::FileActionCopy* from = Copy(0, 1, 0);
  from->set_src("/a*/./");
  from->set_dest("/b/.");
  from->set_mode(0);
  from->set_allow_wildcard(true);
  from->set_allow_empty_wildcard(true);
  from->set_follow_symlink(true);
  from->add_include_patterns("*.c");
  from->add_required_paths("/a/x");
  from->set_timestamp(0);
  auto decoded = Result_(Add(op));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  auto copy = std::get<graph::Copy>(FileOf(*decoded, *decoded->root).actions.at(0));
  EXPECT_EQ(copy.from.path, "a*");
  EXPECT_TRUE(copy.from.wildcards);
  EXPECT_EQ(copy.dest, "/b/");
  EXPECT_EQ(copy.mode, "0");
  EXPECT_THAT(copy.required, ElementsAre("/a/x"));
  EXPECT_EQ(copy.timestamp, Timestamp{0});
  EXPECT_FALSE(copy.contents_only);
}

TEST_F(FileOps, MalformedActionsAreRefused) {
  auto error = [&](const std::function<void(pb::FileOp&)>& change) {
    pb::Op changed = op;
    change(*changed.mutable_file());
    std::string message = ErrorOf(Add(changed));
    definition.mutable_def()->RemoveLast();
    definition.mutable_def()->RemoveLast();
    return message;
  };
  EXPECT_THAT(error([](auto&) {}), HasSubstr("no actions"));
  MkDir("/x", 0, -1);
  EXPECT_THAT(error([](auto&) {}), HasSubstr("no outputs specified"));
  MkDir("/y", 2, 0);
  EXPECT_EQ(error([](auto&) {}), "no error");
  EXPECT_THAT(error([](auto& file) { file.mutable_actions(0)->set_input(3); }), HasSubstr("comes after it"));
  EXPECT_THAT(error([](auto& file) { file.mutable_actions(1)->set_input(3); }), HasSubstr("comes after it"));
  EXPECT_THAT(error([](auto& file) { file.mutable_actions(1)->set_input(9); }), HasSubstr("names input 9"));
  EXPECT_THAT(error([](auto& file) { file.mutable_actions(0)->set_output(0); }), HasSubstr("duplicate output 0"));
  EXPECT_THAT(error([](auto& file) { file.mutable_actions(0)->set_output(5); }), HasSubstr("missing output index 1"));
  EXPECT_THAT(error([](auto& file) { file.mutable_actions(1)->clear_mkdir(); }), HasSubstr("none that varve knows"));
  EXPECT_THAT(error([](auto& file) { file.mutable_actions(1)->mutable_rm()->set_path("/../"); }),
              HasSubstr("whole file system"));
}

TEST_F(Llb, DiffFromNothingIsTheUpperOne) {
  std::string image = AddSource("docker-image://alpine");
  pb::Op diff;
  Use(diff, image);
  diff.mutable_diff()->mutable_lower()->set_input(-1);
  diff.mutable_diff()->mutable_upper()->set_input(0);
  auto decoded = Result_(Add(diff));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  EXPECT_EQ(decoded->graph.steps.size(), 1u);
  definition.mutable_def()->RemoveLast();
  diff.mutable_diff()->mutable_lower()->set_input(0);
  diff.mutable_diff()->mutable_upper()->set_input(-1);
  decoded = Result_(Add(diff));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  EXPECT_TRUE(std::holds_alternative<graph::Diff>(decoded->graph.at(*decoded->root).op));
}

TEST_F(Llb, PassthroughIsItsInputs) {
  pb::Op pass;
  Use(pass, AddSource("docker-image://alpine"));
  Use(pass, AddSource("local://src"));
  pass.mutable_passthrough()->set_id("p");
  pass.mutable_passthrough()->add_outputs(1);
  pass.mutable_passthrough()->add_outputs(0);
  auto decoded = Result_(Add(pass), 1);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  EXPECT_TRUE(std::holds_alternative<graph::ImageSource>(decoded->graph.at(*decoded->root).op));
  EXPECT_TRUE(decoded->besides.empty());
}

TEST_F(Llb, InputsOfAPassthroughThatAreNoOutputsAreBuiltAsWell) {
  pb::Op pass;
  Use(pass, AddSource("docker-image://alpine"));
  Use(pass, AddSource("docker-image://busybox"));
  pass.mutable_passthrough()->set_id("p");
  pass.mutable_passthrough()->add_outputs(1);
  auto decoded = Result_(Add(pass));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  EXPECT_THAT(std::get<graph::ImageSource>(decoded->graph.at(*decoded->root).op).reference, HasSubstr("busybox"));
  ASSERT_EQ(decoded->besides.size(), 1u);
  EXPECT_THAT(std::get<graph::ImageSource>(decoded->graph.at(decoded->besides[0]).op).reference, HasSubstr("alpine"));
}

TEST_F(Llb, NestedBuildsAreRefusedWithAWayOut) {
  pb::Op build;
  Use(build, AddSource("local://src"));
  build.mutable_build()->set_builder(-1);
  auto decoded = Result_(Add(build));
  ASSERT_FALSE(decoded.has_value());
  EXPECT_THAT(decoded.error().message, HasSubstr("BuildOp"));
  EXPECT_FALSE(decoded.error().hint.empty());
}

}  // namespace
}  // namespace varve::llb
