#include "tree/selection.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "base/fd.h"
#include "base/strings.h"
#include "tree/test_tree.h"

namespace varve::tree {
namespace {

Selector Path(std::string_view path) { return {.path = std::string(path), .wildcards = true, .allow_empty = true}; }
Selector Parents(std::string_view path) {
  Selector selector = Path(path);
  selector.parents = true;
  return selector;
}

class SelectionTest : public testing::Test {
 protected:
  SelectionTest() {
    root_ = BuildTree(store_, {{"package.json", File("{}")},
                               {"readme.md", File("hi")},
                               {"src/a.js", File("a")},
                               {"src/b.js", File("b")},
                               {"src/lib/c.js", File("c")},
                               {"src/lib/c.css", File("css")},
                               {"src.js/x", File("x")},
                               {"docs/guide/intro.md", File("intro")},
                               {"docs/guide/img.png", File("png")},
                               {"docs/api.md", File("api")},
                               {"link", Link("src")},
                               {"src/up.js", Link("../package.json")},
                               {"dangling", Link("nowhere")},
                               {"star*", File("star")}});
  }

  // "path>dest_name path>dest_name", or the error.
  std::string Find(const Selector& selector) {
    auto matches = FindMatches(store_, root_, selector);
    if (!matches) return matches.error().message;
    std::string out;
    for (const Match& match : *matches) {
      if (!out.empty()) out += ' ';
      out += match.path.str() + ">" + match.dest_name;
    }
    return out;
  }

  std::string Walk(const Selector& selector) {
    auto matches = FindMatches(store_, root_, selector);
    if (!matches) return matches.error().message;
    std::string out;
    for (const Match& match : *matches) {
      auto status = WalkMatch(store_, selector, match, [&](const RelPath& below, const Node&) {
        out += RelPath(match.dest_name).Join(below.str()).Absolute() + " ";
        return Ok();
      });
      EXPECT_TRUE(status);
    }
    return std::string(TrimSpace(out));
  }

  Digest Select(const std::vector<Selector>& selectors) {
    auto digest = SelectionDigest(store_, root_, selectors);
    EXPECT_TRUE(digest) << digest.error().ToString();
    return digest.value_or(Digest());
  }

  void Put(std::string_view path, Node node) {
    TreeEditor edit(store_, root_);
    ASSERT_TRUE(edit.Put(RelPath(path), std::move(node)));
    root_ = *edit.Commit();
  }

  MemoryTreeStore store_;
  Digest root_;
};

using FindMatchesTest = SelectionTest;

TEST_F(FindMatchesTest, PlainPaths) {
  EXPECT_EQ(Find(Path("/package.json")), "package.json>package.json");
  EXPECT_EQ(Find(Path("../src/./lib/")), "src/lib>lib");
  EXPECT_EQ(Find(Path(".")), ">");
  EXPECT_EQ(Find(Path("/")), ">");
  EXPECT_EQ(Find(Path("missing/file")), "\"/missing/file\": not found");
  EXPECT_EQ(Find(Path("package.json/x")), "\"/package.json/x\": not found");
}

TEST_F(FindMatchesTest, LinksOnTheWayAndAtTheEndAreFollowed) {
  EXPECT_EQ(Find(Path("link")), "src>link");
  EXPECT_EQ(Find(Path("link/a.js")), "src/a.js>a.js");
  EXPECT_EQ(Find(Path("src/up.js")), "package.json>up.js");
  Selector unfollowed = Path("link");
  unfollowed.follow_last = false;
  EXPECT_EQ(Find(unfollowed), "link>link");
  EXPECT_EQ(Find(Path("dangling")), "\"/dangling\": not found");
}

TEST_F(FindMatchesTest, WildcardsMatchPartByPart) {
  EXPECT_EQ(Find(Path("*.json")), "package.json>package.json");
  EXPECT_EQ(Find(Path("src/*.js")), "src/a.js>a.js src/b.js>b.js package.json>up.js");
  EXPECT_EQ(Find(Path("s*/*")), "src/a.js>a.js src/b.js>b.js src/lib>lib package.json>up.js src.js/x>x");
  EXPECT_EQ(Find(Path("docs/*/i*")), "docs/guide/img.png>img.png docs/guide/intro.md>intro.md");
  EXPECT_EQ(Find(Path("link/[ab].js")), "src/a.js>a.js src/b.js>b.js");
  EXPECT_EQ(Find(Path("l*/a.js")), "");                       // wildcards do not look through links
  EXPECT_EQ(Find(Path("src/**/c.js")), "src/lib/c.js>c.js");  // ** is * without --parents
  EXPECT_EQ(Find(Path("*.none")), "");
  Selector strict = Path("*.none");
  strict.allow_empty = false;
  EXPECT_EQ(Find(strict), "\"/*.none\": not found");
  EXPECT_EQ(Find(Path("src/[")), "syntax error in pattern \"[\"");
}

TEST_F(FindMatchesTest, WithoutTheFlagWildcardsAreLetters) {
  Selector literal = Path("star*");
  literal.wildcards = false;
  EXPECT_EQ(Find(literal), "star*>star*");
}

TEST_F(FindMatchesTest, ParentsKeepThePathFromThePivot) {
  EXPECT_EQ(Find(Parents("src/lib/c.js")), "src/lib/c.js>src/lib/c.js");
  EXPECT_EQ(Find(Parents("src/./lib/c.js")), "src/lib/c.js>lib/c.js");
  EXPECT_EQ(Find(Parents("link/./lib/c.js")), "src/lib/c.js>lib/c.js");
  EXPECT_EQ(Find(Parents("./docs/**/*.md")), "docs/api.md>docs/api.md docs/guide/intro.md>docs/guide/intro.md");
  EXPECT_EQ(Find(Parents("docs/./**/*.md")), "docs/api.md>api.md docs/guide/intro.md>guide/intro.md");
  EXPECT_EQ(Find(Parents("**/lib")), "src/lib>src/lib");
  EXPECT_EQ(Find(Parents("none/x")), "\"/none/x\": not found");
  EXPECT_EQ(Find(Parents("**/*.none")), "");
}

TEST_F(FindMatchesTest, ExcludeAppliesToFilesThatAWildcardFound) {
  Selector selector = Path("src/*.js");
  selector.exclude = {"b.*"};
  EXPECT_EQ(Find(selector), "src/a.js>a.js package.json>up.js");
  Selector named = Path("src/b.js");
  named.exclude = {"b.*"};
  EXPECT_EQ(Find(named), "src/b.js>b.js");
}

using WalkMatchTest = SelectionTest;

TEST_F(WalkMatchTest, ExcludeIsRelativeToTheSourceDirectory) {
  Selector selector = Path("src");
  selector.exclude = {"lib"};
  EXPECT_EQ(Walk(selector), "/src /src/a.js /src/b.js /src/up.js");
  selector.exclude = {"src/lib"};
  EXPECT_EQ(Walk(selector), "/src /src/a.js /src/b.js /src/lib /src/lib/c.css /src/lib/c.js /src/up.js");
}

TEST_F(WalkMatchTest, DirectoryIsMadeForWhatIsKeptInIt) {
  Selector selector = Path("src");
  selector.exclude = {"*", "!lib/*.css"};
  EXPECT_EQ(Walk(selector), "/src /src/lib /src/lib/c.css");
  selector.exclude = {"*", "!lib/*.none"};
  EXPECT_EQ(Walk(selector), "/src");
}

TEST_F(WalkMatchTest, IncludeBringsTheParentsOfWhatItMatches) {
  Selector selector = Path("/");
  selector.include = {"src/lib/*.js", "docs/guide"};
  EXPECT_EQ(Walk(selector),
            "/ /docs /docs/guide /docs/guide/img.png /docs/guide/intro.md "
            "/src /src/lib /src/lib/c.js");
  selector.exclude = {"**/*.png", "docs/guide/in*"};
  EXPECT_EQ(Walk(selector), "/ /docs /docs/guide /src /src/lib /src/lib/c.js");
}

TEST_F(WalkMatchTest, PatternsCountFromThePivotWithParents) {
  Selector selector = Parents("./docs/guide");
  selector.exclude = {"docs/guide/*.png"};
  EXPECT_EQ(Walk(selector), "/docs/guide /docs/guide/intro.md");
  selector.exclude = {"docs", "!docs/guide/*.png"};
  EXPECT_EQ(Walk(selector), "/docs/guide /docs/guide/img.png");
  selector.exclude = {"docs"};
  EXPECT_EQ(Walk(selector), "");
}

using SelectionDigestTest = SelectionTest;

TEST_F(SelectionDigestTest, ChangesOutsideDoNotCount) {
  Selector filtered = Path("src");
  filtered.exclude = {"**/*.css"};
  std::vector<std::vector<Selector>> selections = {
      {Path("src")}, {Path("src/*.js")}, {filtered}, {Parents("src/lib/c.js")}, {Path("link")}};
  std::vector<Digest> before;
  for (const auto& selection : selections) before.push_back(Select(selection));
  Put("readme.md", File("changed"));
  Put("docs/new", File("new"));
  for (size_t i = 0; i < selections.size(); ++i) EXPECT_EQ(Select(selections[i]), before[i]) << i;
  Put("src/lib/c.css", File("changed"));
  EXPECT_NE(Select(selections[0]), before[0]);
  EXPECT_EQ(Select(selections[1]), before[1]);
  EXPECT_EQ(Select(selections[2]), before[2]);
  EXPECT_EQ(Select(selections[3]), before[3]);
  EXPECT_NE(Select(selections[4]), before[4]);
}

TEST_F(SelectionDigestTest, ParentAttributesCountOnlyWithParents) {
  Digest plain = Select({Path("src/lib/c.js")});
  Digest kept = Select({Parents("src/lib/c.js")});
  Put("src/lib", Dir(0700));
  EXPECT_EQ(Select({Path("src/lib/c.js")}), plain);
  EXPECT_NE(Select({Parents("src/lib/c.js")}), kept);
}

TEST_F(SelectionDigestTest, NamesOfMatchesCount) {
  Put("one/a", File("same"));
  Put("two/b", File("same"));
  EXPECT_NE(Select({Path("one/*")}), Select({Path("two/*")}));
  EXPECT_NE(Select({Path("one/*"), Path("two/*")}), Select({Path("two/*"), Path("one/*")}));
  EXPECT_NE(Select({}), Select({Path("*.none")}));
}

TEST_F(SelectionDigestTest, ValuesArePinned) {
  Selector filtered = Path("src");
  filtered.exclude = {"*.js"};
  Selector included = Path("/");
  included.include = {"docs/**/*.md"};
  Selector kept = Parents("docs/./**/*.md");
  kept.exclude = {"guide"};
  std::string text;
  auto line = [&](std::string_view name, const std::vector<Selector>& selectors) {
    text += fmt::format("{} {}\n", name, Select(selectors).ToString());
  };
  line("whole", {Path("/")});
  line("file", {Path("src/a.js")});
  line("link", {Path("link")});
  line("wildcard", {Path("*.json"), Path("src/*.js")});
  line("exclude", {filtered});
  line("include", {included});
  line("parents", {Parents("src/./lib/c.js")});
  line("parents-exclude", {kept});
  line("nothing", {Path("*.none")});
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/tree/selection_digest.txt";
  if (std::getenv("VARVE_ACCEPT") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, text));
  }
  auto golden = ReadFile(path);
  ASSERT_TRUE(golden) << golden.error().ToString();
  EXPECT_EQ(text, *golden) << "every user's cache is lost: raise the version of the preimage";
}

TEST(Selector, JsonNamesOnlyWhatIsSet) {
  EXPECT_EQ(Selector{.path = "/a"}.ToJson().Dump(), R"({"path":"/a"})");
  Selector full{.path = "a*",
                .wildcards = true,
                .allow_empty = true,
                .follow_last = false,
                .include = {"i"},
                .exclude = {"e"},
                .parents = true};
  EXPECT_EQ(full.ToJson().Dump(), R"({"path":"a*","wildcards":true,"allow_empty":true,"follow_last":false,)"
                                  R"("include":["i"],"exclude":["e"],"parents":true})");
}

// --- Random trees: what a selection covers and what it does not ---

struct RandomTree {
  std::mt19937& random;
  std::map<std::string, Node> nodes;

  std::string Name() { return std::string(1, static_cast<char>('a' + random() % 4)); }
  Node AnyNode() {
    switch (random() % 6) {
      case 0:
        return Link(Name());
      case 1:
        return Dir(random() % 2 ? 0755 : 0700);
      default:
        return File(std::to_string(random() % 1000), random() % 4 ? 0644 : 0755);
    }
  }
  void Grow(const std::string& directory, int depth) {
    for (size_t i = random() % 4; i > 0; --i) {
      std::string path = directory + Name() + (random() % 3 ? "" : ".js");
      if (nodes.contains(path)) continue;
      bool descend = depth < 3 && random() % 2;
      nodes[path] = descend ? Dir() : AnyNode();
      if (nodes[path].IsDirectory() && depth < 3) Grow(path + "/", depth + 1);
    }
  }
};

// Everything that a copy of the selection sees, spelled out: the slow definition of the digest.
std::string Visible(TreeStore& store, const Digest& root, const Selector& selector) {
  auto matches = FindMatches(store, root, selector);
  if (!matches) return "error " + matches.error().message;
  std::string out;
  for (const Match& match : *matches) {
    bool any = false;
    auto visit = [&](const RelPath& below, const Node& node) -> Status {
      any = true;
      out += fmt::format("{}|{}|{}|{}|{}|{}\n", match.dest_name, below.str(), static_cast<int>(node.type), node.mode,
                         node.target, node.IsDirectory() ? "" : node.digest.Hex());
      return Ok();
    };
    EXPECT_TRUE(WalkMatch(store, selector, match, visit));
    RelPath kept(match.dest_name);
    RelPath path = match.path;
    while (any && selector.parents && !kept.Parent().IsRoot()) {
      kept = kept.Parent();
      path = path.Parent();
      out += fmt::format("parent {} {}\n", kept.str(), (*Lookup(store, root, path))->mode);
    }
  }
  return out;
}

TEST(SelectionProperty, DigestChangesExactlyWhenWhatIsVisibleChanges) {
  std::mt19937 random(42);
  auto with = [](Selector selector, std::vector<std::string> include, std::vector<std::string> exclude) {
    selector.include = std::move(include);
    selector.exclude = std::move(exclude);
    return selector;
  };
  const std::vector<Selector> selectors = {Path("/"),
                                           Path("a"),
                                           Path("a/b"),
                                           Path("*"),
                                           Path("*.js"),
                                           Path("a/*"),
                                           Path("*/a"),
                                           Path("[ab]/*.js"),
                                           Parents("a/b"),
                                           Parents("**/a"),
                                           Parents("a/./**/*.js"),
                                           Parents("*/b"),
                                           with(Path("/"), {}, {"a"}),
                                           with(Path("/"), {}, {"**/a", "!a/b"}),
                                           with(Path("a"), {}, {"*.js"}),
                                           with(Path("*"), {}, {"*.js", "b"}),
                                           with(Path("/"), {"a/b", "**/*.js"}, {}),
                                           with(Path("/"), {"a", "b"}, {"*/a", "!b/a/b"}),
                                           with(Parents("**/b"), {}, {"a"}),
                                           with(Parents("./a"), {}, {"a/*", "!a/b"})};
  int changed = 0, unchanged = 0;
  for (int round = 0; round < 400; ++round) {
    MemoryTreeStore store;
    RandomTree tree{random, {}};
    tree.Grow("", 0);
    Digest before = BuildTree(store, tree.nodes);
    for (int edit = 0; edit < 5; ++edit) {
      TreeEditor editor(store, before);
      RelPath path(tree.Name() + (random() % 2 ? "/" + tree.Name() : "") + (random() % 2 ? ".js" : ""));
      if (random() % 3 == 0) {
        ASSERT_TRUE(editor.Remove(path));
      } else if (!editor.Put(path, tree.AnyNode())) {
        continue;
      }
      Digest after = *editor.Commit();
      for (const Selector& selector : selectors) {
        auto digest_before = SelectionDigest(store, before, {selector});
        auto digest_after = SelectionDigest(store, after, {selector});
        std::string visible_before = Visible(store, before, selector);
        std::string visible_after = Visible(store, after, selector);
        ASSERT_EQ(digest_before.has_value(), !visible_before.starts_with("error"));
        if (!digest_before || !digest_after) continue;
        bool same = visible_before == visible_after;
        ++(same ? unchanged : changed);
        ASSERT_EQ(*digest_before == *digest_after, same)
            << selector.ToJson().Dump() << "\nchanged " << path.str() << "\n--- before\n"
            << visible_before << "--- after\n"
            << visible_after;
      }
    }
  }
  EXPECT_GT(changed, 1000);
  EXPECT_GT(unchanged, 1000);
}

// --- Compare ---

std::string Differences(TreeStore& store, const Digest& before, const Digest& after, std::string_view below = "",
                        size_t limit = 100) {
  auto differences = Compare(store, before, after, RelPath(below), limit);
  if (!differences) return differences.error().message;
  std::string out;
  for (const Difference& d : *differences) {
    out += fmt::format("{} {}\n", DifferenceName(d.kind), d.path.str());
  }
  return out;
}

std::string Details(const std::vector<Difference>& differences) {
  std::string out;
  for (const Difference& d : differences) {
    out += fmt::format("{} {}{}{}\n", DifferenceName(d.kind), d.path.str(), d.detail.empty() ? "" : " ", d.detail);
  }
  return out;
}

TEST(Compare, NamesEachKindOfDifference) {
  MemoryTreeStore store;
  Node owned = File("o");
  owned.uid = 5;
  Node attributed = File("x");
  attributed.xattrs = {{"user.a", "1"}};
  Digest before = BuildTree(store, {{"d/content", File("1")},
                                    {"d/gone", File("g")},
                                    {"d/link", Link("a")},
                                    {"d/mode", File("m")},
                                    {"d/owner", File("o")},
                                    {"d/type", File("t")},
                                    {"d/xattr", File("x")},
                                    {"same/s", File("s")}});
  Digest after = BuildTree(store, {{"d/content", File("2")},
                                   {"d/link", Link("b")},
                                   {"d/mode", File("m", 0600)},
                                   {"d/new/x", File("n")},
                                   {"d/owner", owned},
                                   {"d/type", Dir()},
                                   {"d/xattr", attributed},
                                   {"same/s", File("s")},
                                   {"d", Dir(0700)}});
  EXPECT_EQ(Differences(store, before, after),
            "mode changed d\ncontent changed d/content\nremoved d/gone\nlink target changed d/link\n"
            "mode changed d/mode\nadded d/new\nowner changed d/owner\ntype changed d/type\n"
            "xattr changed d/xattr\n");
  EXPECT_EQ(Differences(store, before, after, "d/gone"), "removed d/gone\n");
  EXPECT_EQ(Differences(store, before, after, "d/new"), "added d/new\n");
  EXPECT_EQ(Differences(store, before, after, "same"), "");
  EXPECT_EQ(Differences(store, before, after, "", 2), "mode changed d\ncontent changed d/content\n");
  EXPECT_EQ(Differences(store, before, after, "", 0), "");
}

TEST(Compare, TellsOldAndNewWhereTheyAreShort) {
  MemoryTreeStore store;
  Node owned = File("o");
  owned.uid = 1000;
  Digest before =
      BuildTree(store, {{"link", Link("a")}, {"mode", File("m", 0755)}, {"owner", File("o")}, {"type", File("t")}});
  Digest after = BuildTree(store, {{"link", Link("b")}, {"mode", File("m")}, {"owner", owned}, {"type", Dir()}});
  EXPECT_EQ(Details(*Compare(store, before, after, RelPath(), 10)),
            "link target changed link a → b\nmode changed mode 100755 → 100644\n"
            "owner changed owner 0:0 → 1000:0\ntype changed type file → directory\n");
}

TEST(CompareSelected, LeavesOutWhatTheSelectorsDoNotReach) {
  MemoryTreeStore store;
  Digest before = BuildTree(store, {{"README", File("1")},
                                    {"src/a", File("1")},
                                    {"src/b.md", File("1")},
                                    {"src/gone", File("1")},
                                    {"x1", File("1")},
                                    {"y", File("1")}});
  Digest after = BuildTree(store, {{"README", File("2")},
                                   {"src/a", File("2")},
                                   {"src/b.md", File("2")},
                                   {"src/new/n", File("1")},
                                   {"x1", File("1")},
                                   {"x2", File("1")},
                                   {"y", File("2")}});
  auto compare = [&](const std::vector<Selector>& selectors) {
    return Details(*CompareSelected(store, before, after, selectors, 100));
  };
  EXPECT_EQ(compare({{.path = "src"}}),
            "content changed src/a\ncontent changed src/b.md\nremoved src/gone\nadded src/new\n");
  EXPECT_EQ(compare({{.path = "src", .exclude = {"**/*.md"}}}),
            "content changed src/a\nremoved src/gone\nadded src/new\n");
  EXPECT_EQ(compare({{.path = "src", .exclude = {"a", "gone", "new"}}}), "content changed src/b.md\n");
  EXPECT_EQ(compare({{.path = "x*", .wildcards = true}}), "added x2\n");
  EXPECT_EQ(compare({{.path = "y"}, {.path = "src/a"}, {.path = "y"}}), "content changed src/a\ncontent changed y\n");
  EXPECT_EQ(compare({{.path = "src/gone"}}), "removed src/gone\n");
  EXPECT_EQ(compare({{.path = "nothing"}}), "");
}

}  // namespace
}  // namespace varve::tree
