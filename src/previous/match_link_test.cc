// COPY --link in images that were built earlier: its layer stands for itself.
#include <gmock/gmock.h>

#include "previous/match_test.h"

namespace varve::previous {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct LinkCase {
  const char* name;
  std::vector<std::pair<std::string, Node>> layer;
  bool answered;
};
void PrintTo(const LinkCase& link, std::ostream* out) { *out << link.name; }

class LinkMatch : public MatchTest, public ::testing::WithParamInterface<LinkCase> {};

TEST_P(LinkMatch, ComparesTheLayerByItself) {
  contents.layers[Id("1")] = Index(GetParam().layer);
  for (Trust trust : {Trust::kContent, Trust::kHistory}) {
    Outcome outcome =
        Match("FROM base\nCOPY --link tool /bin/", Image({{"COPY tool /bin/ # buildkit", kBuildKit}}), trust);
    EXPECT_EQ(!outcome.answers.empty(), GetParam().answered) << outcome.stopped;
  }
  EXPECT_EQ(contents.base_trees, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, LinkMatch,
    ::testing::Values(LinkCase{"AllThatItNeeds", {{"bin", Dir()}, {"bin/tool", File("tool", 0755)}}, true},
                      LinkCase{"OtherBytes", {{"bin", Dir()}, {"bin/tool", File("loot", 0755)}}, false},
                      LinkCase{"AFolderAsItWasBelow", {{"bin", Dir(01777)}, {"bin/tool", File("tool", 0755)}}, false},
                      LinkCase{"ALinkIsNotFollowed", {{"link", Dir()}, {"link/tool", File("tool", 0755)}}, false}),
    [](const auto& test) { return std::string(test.param.name); });

TEST_F(MatchTest, ALinkedLayerThatDependsOnThoseBelowIsNotThatOfALink) {
  oci::ImageConfig image = Image({{"COPY tool /bin/ # buildkit", kBuildKit}});
  for (bool LayerEntry::*on_those_below : {&LayerEntry::opaque, &LayerEntry::implicit}) {
    contents.layers[Id("1")] = Index({{"bin", Dir()}, {"bin/tool", File("tool", 0755)}});
    contents.layers[Id("1")][0].*on_those_below = true;
    EXPECT_THAT(Match("FROM base\nCOPY --link tool /bin/", image).answers, IsEmpty());
  }
  contents.layers[Id("1")] = Index({{"bin", Dir()}, {"bin/tool", File("tool", 0755)}});
  contents.layers[Id("1")].insert(contents.layers[Id("1")].begin(), {.path = RelPath("etc/passwd"), .whiteout = true});
  EXPECT_THAT(Match("FROM base\nCOPY --link tool /bin/", image).answers, IsEmpty());
}

TEST_F(MatchTest, WhatFollowsALinkIsAnsweredOnTopOfIt) {
  oci::ImageConfig image = Image({{"COPY a.txt /etc/x # buildkit", kBuildKit},
                                  {"COPY tool /new/ # buildkit", kBuildKit},
                                  {"RUN /bin/sh -c make # buildkit", kBuildKit},
                                  {"COPY a.txt /new/ # buildkit", kBuildKit}});
  contents.layers[Id("1")] = Index({{"etc", Dir()}, {"etc/x", File("a\n")}});
  contents.layers[Id("2")] = Index({{"new", Dir()}, {"new/tool", File("tool", 0755)}});
  contents.layers[Id("4")] = Index({{"new", Dir()}, {"new/a.txt", File("a\n")}});
  Outcome outcome = Match("FROM base\nCOPY a.txt /etc/x\nCOPY --link tool /new/\nRUN make\nCOPY a.txt /new/", image);
  EXPECT_EQ(outcome.stopped, "");
  EXPECT_THAT(Answers(outcome),
              ElementsAre("COPY a.txt /etc/x = 1 verified", "LINK COPY --link tool /new/ = 2 verified", "RUN make = 3",
                          "COPY a.txt /new/ = 4 verified"));
}

}  // namespace
}  // namespace varve::previous
