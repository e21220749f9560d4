#include "daemon/failed_op.h"

#include <gtest/gtest.h>

#include "llb/definition.h"

namespace varve::daemon {
namespace {

// Three actions on what another operation has made.
FailedOp Files() {
  graph::Graph graph;
  graph.Add({.op = graph::FileOp{.base = -1, .actions = {graph::MakeFile{.path = "/base"}}}, .name = "base"});
  graph.Add({.op = graph::FileOp{.base = 0,
                                 .actions = {graph::MakeDirectory{.path = "/one"}, graph::MakeDirectory{.path = "/two"},
                                             graph::MakeDirectory{.path = "/three"}}},
             .inputs = {{0, 0}},
             .name = "three"});
  return *LastOp(llb::Encode(graph, graph::Ref{1, 0}));
}

std::vector<std::string> DirectoriesIn(const pb::Definition& definition) {
  auto decoded = llb::Decode(definition);
  EXPECT_TRUE(decoded) << decoded.error().message;
  std::vector<std::string> made;
  if (!decoded || !decoded->root) return made;
  for (const auto& action : std::get<graph::FileOp>(decoded->graph.at(*decoded->root).op).actions) {
    if (const auto* directory = std::get_if<graph::MakeDirectory>(&action)) made.push_back(directory->path);
  }
  return made;
}

TEST(FailedOp, IsFoundWithWhatItIsCalled) {
  FailedOp failed = Files();
  EXPECT_EQ(failed.op.file().actions_size(), 3);
  EXPECT_EQ(failed.description.at(llb::kCustomName), "three");
  EXPECT_FALSE(failed.description.contains(llb::kStepNote));
  EXPECT_EQ(FindOp(failed.definition, "sha256:00").error().code, Code::kNotFound);
  EXPECT_EQ(LastOp({}).error().code, Code::kNotFound);
}

TEST(FailedOp, HasDefinitionsOfItsInputsAndActions) {
  FailedOp failed = Files();
  EXPECT_EQ(DirectoriesIn(ResultOfAction(failed, 1)), (std::vector<std::string>{"/one", "/two"}));
  EXPECT_EQ(DirectoriesIn(ResultOfAction(failed, 2)), (std::vector<std::string>{"/one", "/two", "/three"}));
  auto input = llb::Decode(InputOf(failed, 0));
  ASSERT_TRUE(input);
  EXPECT_EQ(input->graph.steps.size(), 1u);
  EXPECT_EQ(input->graph.at(*input->root).name, "base");
}

TEST(FailedOp, KnowsWhichInputLacksAFile) {
  FailedOp failed;
  failed.op.add_inputs();
  failed.op.add_inputs();
  pb::Mount& root = *failed.op.mutable_exec()->add_mounts();
  root.set_dest("/");
  pb::Mount& source = *failed.op.mutable_exec()->add_mounts();
  source.set_input(1);
  source.set_selector("not/there");
  EXPECT_EQ(MissingInput(failed, "failed to calculate checksum of ref abc: \"/not/there\": not found"), 1);
  EXPECT_EQ(MissingInput(failed, "\"/there\": not found"), std::nullopt);
  EXPECT_EQ(MissingInput(failed, "process \"x\" did not complete successfully: exit code: 1"), std::nullopt);
  pb::FileAction& action = *failed.op.mutable_file()->add_actions();
  action.set_input(0);
  action.set_secondary_input(1);
  action.mutable_copy()->set_src("/gone");
  EXPECT_EQ(MissingInput(failed, "\"/gone\": not found"), 1);
}

}  // namespace
}  // namespace varve::daemon
