// Entries as builders recorded them.
#include "previous/history_entry.h"

#include <gtest/gtest.h>

#include <vector>

namespace varve::previous {
namespace {

constexpr const char* kBuildKit = "buildkit.dockerfile.v0";

TEST(ReadHistory, KnowsEveryBuildersForms) {
  struct Case {
    oci::History history;
    Action action;
    const char* text;
  };
  for (const Case& c : std::vector<Case>{
           {{.created_by = "RUN /bin/sh -c a # b # buildkit", .comment = kBuildKit}, Action::kRun, "/bin/sh -c a # b"},
           {{.created_by = "/bin/sh -c a # b"}, Action::kRun, "/bin/sh -c a # b"},
           {{.created_by = "WORKDIR /a", .comment = kBuildKit}, Action::kWorkdir, "/a"},
           {{.created_by = "/bin/sh -c #(nop) WORKDIR /a"}, Action::kWorkdir, "/a"},
           {{.created_by = "/bin/sh -c #(nop)  SHELL [/bin/ash -c]"}, Action::kShell, "/bin/ash -c"},
           {{.created_by = "/bin/sh -c #(nop) SHELL [\"/bin/ash\",\"-c\"]"}, Action::kShell, "/bin/ash -c"},
           {{.created_by = "/bin/ash -ec #(nop)  SHELL [/bin/ash -ec]"}, Action::kShell, "/bin/ash -ec"},
           {{.created_by = "/bin/sh -c #(nop) STOPSIGNAL 9"}, Action::kOther, ""},
           {{.created_by = "/bin/sh -c #(nop) "}, Action::kRun, "/bin/sh -c #(nop)"},
           {{.created_by = ""}, Action::kRun, ""}}) {
    HistoryEntry entry = ReadHistory(c.history);
    EXPECT_EQ(entry.action, c.action) << c.history.created_by;
    EXPECT_EQ(entry.text, c.text) << c.history.created_by;
  }
}

TEST(ReadHistory, TheClassicBuildersMarkFollowsTheShellInForce) {
  oci::History copy{.created_by = "/bin/ash -ec #(nop) COPY file:1 in /a "};
  EXPECT_EQ(ReadHistory(copy, "/bin/ash -ec").action, Action::kCopy);
  EXPECT_EQ(ReadHistory(copy).action, Action::kRun);
  EXPECT_EQ(ReadHistory({.created_by = "/bin/sh -c #(nop) COPY file:1 in /a "}, "/bin/ash -ec").action, Action::kCopy);
  EXPECT_EQ(ReadHistory({.created_by = "/bin/sh -c echo #(nop) COPY file:1 in /a "}).action, Action::kRun);
}

}  // namespace
}  // namespace varve::previous
