#include "tree/read_set.h"

#include <gmock/gmock.h>

#include "tree/test_tree.h"

namespace varve::tree {
namespace {

using testing::ElementsAre;

struct ReadSetTest : testing::Test {
  Digest TreeOf(const std::map<std::string, Node>& nodes) { return BuildTree(trees_, nodes); }

  ReadSet Answered(const Digest& root, const std::vector<Question>& asked) {
    auto set = AnswerAll(trees_, root, asked);
    EXPECT_TRUE(set) << set.error().ToString();
    return set ? *set : ReadSet();
  }

  // "path: difference", or "same".
  std::string Check(const ReadSet& set, const Digest& root) {
    auto mismatch = FirstMismatch(trees_, root, set);
    EXPECT_TRUE(mismatch) << mismatch.error().ToString();
    if (!mismatch || !*mismatch) return "same";
    return (*mismatch)->path + ": " + (*mismatch)->difference;
  }

  MemoryTreeStore trees_;
  const std::map<std::string, Node> files_ = {
      {"app", Dir()},          {"app/a.js", File("a")},     {"app/b.js", File("b")},
      {"app/lib", Dir()},      {"app/lib/c.js", File("c")}, {"app/link", Link("a.js")},
      {"app-old", File("old")}};
  const Digest root_ = TreeOf(files_);
};

TEST_F(ReadSetTest, WalksGoIntoADirectoryBeforeWhatOnlySharesItsName) {
  EXPECT_TRUE(WalksBefore("", "a"));
  EXPECT_TRUE(WalksBefore("a", "a/b"));
  EXPECT_TRUE(WalksBefore("a/b", "a-b"));
  EXPECT_FALSE(WalksBefore("a-b", "a/b"));
  EXPECT_FALSE(WalksBefore("a", "a"));
  EXPECT_TRUE(WalksBefore("a", "\xff"));
}

TEST_F(ReadSetTest, EachFacetSeesItsOwnChangeAndNoOther) {
  struct Case {
    Question asked;
    std::string change;  // path
    Node to;
    std::string expected;
  };
  const Question stat_a{"app/a.js", kStat}, content_a{"app/a.js", kStat | kContent}, list{"app", kStat | kList};
  auto owned = File("a");
  owned.uid = 7;
  auto marked = File("a");
  marked.xattrs = {{"user.x", "1"}};
  const std::vector<Case> cases = {
      {stat_a, "app/a.js", File("A"), "same"},  // as long as before
      {stat_a, "app/a.js", File("longer"), "app/a.js: size 1 → 6"},
      {stat_a, "app/a.js", File("a", 0755), "app/a.js: mode 644 → 755"},
      {stat_a, "app/a.js", owned, "app/a.js: owner 0:0 → 7:0"},
      {stat_a, "app/a.js", Link("x"), "app/a.js: its type changed"},
      {stat_a, "app/b.js", File("other"), "same"},
      {content_a, "app/a.js", File("A"), "app/a.js: content changed"},
      {list, "app/a.js", File("other"), "same"},
      {list, "app/new", File(""), "app: other names are in it"},
      {list, "app/a.js", Dir(), "app: other names are in it"},
      {list, "app/lib/new", File(""), "same"},
      {{"app/link", kStat | kLink}, "app/link", Link("b.js"), "app/link: it links elsewhere"},
      {{"app/link", kStat}, "app/link", Link("b.js"), "same"},
      {{"app/a.js", kStat | kXattr}, "app/a.js", marked, "app/a.js: its extended attributes changed"},
      {stat_a, "app/a.js", marked, "same"},
      {{"app/a.js", kExists}, "app/a.js", File("longer"), "same"},
      {{"app/a.js", kExists}, "app/a.js", File("a", 0755), "app/a.js: mode 644 → 755"},
      {{"app/a.js", kExists}, "app/a.js", owned, "app/a.js: owner 0:0 → 7:0"},
      {{"app/a.js", kExists}, "app/a.js", Link("x"), "app/a.js: its type changed"},
      {{"app/none", kAbsent}, "app/none", File(""), "app/none: is there now"},
      {{"app/none", kAbsent}, "app/other", File(""), "same"},
      {{"app", kStat | kSubtree}, "app/lib/c.js", File("C"), "app: something in it changed"},
      {{"app", kStat | kSubtree}, "app-old", File("C"), "same"},
  };
  for (const Case& c : cases) {
    auto files = files_;
    files[c.change] = c.to;
    EXPECT_EQ(Check(Answered(root_, {c.asked}), TreeOf(files)), c.expected)
        << FacetNames(c.asked.facets) << " of " << c.asked.path << " when " << c.change << " changes";
  }
}

TEST_F(ReadSetTest, WhatIsGoneIsADifference) {
  ReadSet set = Answered(root_, {{"app/a.js", kStat}});
  auto files = files_;
  files.erase("app/a.js");
  EXPECT_EQ(Check(set, TreeOf(files)), "app/a.js: is gone");
}

TEST_F(ReadSetTest, ADirectoryThatHoldsTheSameIsNotLookedInto) {
  ReadSet set = Answered(root_, {{"app", kStat}, {"app/lib", kStat}, {"app/lib/c.js", kStat | kContent}});
  set.back().answer[0] ^= 1;  // would differ if it were asked
  EXPECT_EQ(Check(set, root_), "same");
  auto files = files_;
  files["app/b.js"] = File("B");  // app is another, app/lib is not
  EXPECT_EQ(Check(set, TreeOf(files)), "same");
  files["app/lib/d.js"] = File("");
  EXPECT_EQ(Check(set, TreeOf(files)), "app/lib/c.js: its type changed");
}

TEST_F(ReadSetTest, ASameDirectoryOfAnotherModeIsADifference) {
  ReadSet set = Answered(root_, {{"app", kStat}, {"app/a.js", kStat}});
  auto files = files_;
  files["app"] = Dir(0700);
  EXPECT_EQ(Check(set, TreeOf(files)), "app: mode 755 → 700");
}

TEST_F(ReadSetTest, ManyEntriesBecomeTheirDirectory) {
  std::vector<Question> asked = {{"app", kStat | kList},
                                 {"app/a.js", kStat},
                                 {"app/b.js", kStat | kContent},
                                 {"app/lib", kStat},
                                 {"app/lib/c.js", kStat | kContent},
                                 {"app/no", kAbsent}};
  auto coarse = Coarsen(trees_, root_, Answered(root_, asked), 3);
  ASSERT_TRUE(coarse);
  ASSERT_EQ(coarse->size(), 1u);
  EXPECT_EQ((*coarse)[0].path, "app");
  EXPECT_EQ((*coarse)[0].facets, kStat | kSubtree);
  EXPECT_EQ(Check(*coarse, root_), "same");
  auto files = files_;
  files["app/lib/c.js"] = File("C");
  EXPECT_EQ(Check(*coarse, TreeOf(files)), "app: something in it changed");
  auto fine = Coarsen(trees_, root_, Answered(root_, asked), 5);
  ASSERT_TRUE(fine);
  EXPECT_EQ(fine->size(), asked.size());
}

TEST_F(ReadSetTest, ALayerThatIsNotWhatItsIndexSaysIsCorrupt) {
  EXPECT_FALSE(AnswerAll(trees_, root_, {{"app/none", kStat}}));
  EXPECT_FALSE(AnswerAll(trees_, root_, {{"app/a.js", kAbsent}}));
}

TEST_F(ReadSetTest, WhatIsEncodedIsReadBack) {
  ReadSet set = Answered(root_, {{"", kList},
                                 {"app", kStat | kList},
                                 {"app/a.js", kStat | kContent},
                                 {"app/link", kStat | kLink},
                                 {"app/none", kAbsent},
                                 {"app-old", kExists}});
  std::string bytes = EncodeReadSet(set);
  auto back = DecodeReadSet(bytes);
  ASSERT_TRUE(back) << back.error().ToString();
  EXPECT_EQ(*back, set);
  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(DecodeReadSet(bytes.substr(0, n))) << n;
  EXPECT_FALSE(DecodeReadSet(bytes + "x"));
}

TEST_F(ReadSetTest, OrderAndPathsOfAnEncodedSetAreChecked) {
  ReadSet set = Answered(root_, {{"app/a.js", kStat}, {"app/b.js", kStat}});
  std::swap(set[0], set[1]);
  EXPECT_FALSE(DecodeReadSet(EncodeReadSet(set)));
  EXPECT_FALSE(DecodeReadSet(EncodeReadSet({{.path = "../x", .facets = kAbsent, .answer = {}, .object = {}}})));
  EXPECT_FALSE(DecodeReadSet(EncodeReadSet({{.path = "x", .facets = kAbsent | kStat, .answer = {}, .object = {}}})));
}

}  // namespace
}  // namespace varve::tree
