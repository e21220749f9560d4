#include "tree/pattern.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "base/fd.h"
#include "base/json.h"
#include "base/rel_path.h"
#include "base/strings.h"

namespace varve::tree {
namespace {

void CheckVectors(const std::string& file) {
  auto text = ReadFile(file);
  ASSERT_TRUE(text) << text.error().ToString();
  int records = 0;
  for (const std::string& line : Split(*text, '\n')) {
    if (line.empty()) continue;
    ++records;
    auto record = Json::Parse(line);
    ASSERT_TRUE(record) << line;
    auto list = PatternList::Compile(record->GetStrings("patterns"));
    std::string wanted_error = record->GetString("error");
    if (!wanted_error.empty()) {
      ASSERT_FALSE(list) << line;
      EXPECT_TRUE(list.error().message.starts_with(wanted_error)) << list.error().message;
      continue;
    }
    ASSERT_TRUE(list) << line << list.error().ToString();
    // Both functions of the reference agree on all records, apart from a path that is cleaned
    // first.
    std::string path = CleanPath(record->GetString("path"));
    EXPECT_EQ(list->Matches(path), record->GetBool("match")) << line;
    EXPECT_EQ(list->MatchesWalking(path), record->GetBool("match")) << line;
  }
  EXPECT_GE(records, 131);
}

TEST(Patterns, BehaveAsRecordedFromTheReferenceImplementation) {
  CheckVectors(std::string(VARVE_GOLDEN_DIR) + "/tree/patternmatcher.jsonl");
}

// The vectors as they are shared, which may have grown: VARVE_VECTORS names their directory.
TEST(Patterns, BehaveAsTheVectorsBesideTheSource) {
  const char* given = std::getenv("VARVE_VECTORS");
  std::string directory = given ? given : std::string(VARVE_SOURCE_DIR) + "/../shared/vectors";
  std::string path = directory + "/patternmatcher.jsonl";
  if (access(path.c_str(), R_OK) != 0) GTEST_SKIP() << "no " << path << "; set VARVE_VECTORS";
  CheckVectors(path);
}

TEST(FileMatch, FollowsGo) {
  // Rows of Go's own table (path/filepath/match_test.go) as facts about the function.
  struct Row {
    const char* pattern;
    const char* name;
    bool match;
  };
  for (const Row& row : std::initializer_list<Row>{{"abc", "abc", true},
                                                   {"*", "abc", true},
                                                   {"*c", "abc", true},
                                                   {"a*", "a", true},
                                                   {"a*", "ab/c", false},
                                                   {"a*/b", "abc/b", true},
                                                   {"a*/b", "a/c/b", false},
                                                   {"a*b*c*d*e*/f", "axbxcxdxexxx/f", true},
                                                   {"a*b*c*d*e*/f", "axbxcxdxexxx/fff", false},
                                                   {"a*b?c*x", "abxbbxdbxebxczzx", true},
                                                   {"a*b?c*x", "abxbbxdbxebxczzy", false},
                                                   {"ab[c]", "abc", true},
                                                   {"ab[^e-g]", "abc", true},
                                                   {"a\\*b", "a*b", true},
                                                   {"a\\*b", "ab", false},
                                                   {"a?b", "a☺b", true},
                                                   {"a[^a]b", "a☺b", true},
                                                   {"[a-ζ]*", "α", true},
                                                   {"*[a-ζ]", "A", false},
                                                   {"a?b", "a/b", false},
                                                   {"[\\]a]", "]", true},
                                                   {"[x\\-]", "-", true},
                                                   {"*x", "xxx", true},
                                                   {"", "", true},
                                                   {"**", "a/b", false},
                                                   {"a.b+(c)", "a.b+(c)", true},
                                                   {"^a", "^a", true}}) {
    auto match = FileMatch(row.pattern, row.name);
    ASSERT_TRUE(match) << row.pattern;
    EXPECT_EQ(*match, row.match) << row.pattern << " " << row.name;
  }
  for (const char* bad : {"[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a["}) {
    auto match = FileMatch(bad, "x");
    ASSERT_FALSE(match) << bad;
    EXPECT_EQ(match.error().code, Code::kInvalid);
  }
}

TEST(FileMatch, ManyStarsCostNoMoreThanFew) {
  std::string pattern, name(3000, 'a');
  for (int i = 0; i < 200; ++i) pattern += "*a";
  EXPECT_FALSE(*FileMatch(pattern + "b", name));
  EXPECT_TRUE(*FileMatch(pattern, name));
}

TEST(FileMatch, BytesThatAreNoUtf8StayDistinct) {
  EXPECT_TRUE(*FileMatch("?", "\xff"));
  EXPECT_TRUE(*FileMatch("\xff*", "\xff\xfe"));
  EXPECT_FALSE(*FileMatch("\xff*", "\xfe"));
}

TEST(HasWildcards, EscapesCount) {
  EXPECT_TRUE(HasWildcards("a*"));
  EXPECT_TRUE(HasWildcards("a[b"));
  EXPECT_TRUE(HasWildcards("\\\\?"));
  EXPECT_FALSE(HasWildcards("a\\*b"));
  EXPECT_FALSE(HasWildcards("plain"));
}

TEST(IgnoreFile, IsReadAsTheReferenceReadsIt) {
  auto patterns = ReadIgnoreFile(
      "\xef\xbb\xbf# a comment\r\n"
      "node_modules\r\n"
      "   # not a comment\n"
      "\t*.o \n"
      "\n"
      "/abs//path/../x/\n"
      "! /keep/me \n"
      "./dot\n"
      "/\n"
      "!\n"
      "last");
  ASSERT_TRUE(patterns) << patterns.error().ToString();
  EXPECT_EQ(*patterns, (std::vector<std::string>{"node_modules", "# not a comment", "*.o", "abs/x", "!keep/me", "dot",
                                                 "/", "!", "last"}));
  EXPECT_EQ(PatternList::Compile(*patterns).error().message, "illegal exclusion pattern: \"!\"");
}

TEST(IgnoreFile, LineWithoutEndIsRefused) {
  auto patterns = ReadIgnoreFile("ok\n" + std::string(65536, 'x'));
  ASSERT_FALSE(patterns);
  EXPECT_EQ(patterns.error().message, "line 2 of the ignore file is longer than 65535 bytes");
}

PatternList Compile(const std::vector<std::string>& patterns) {
  auto list = PatternList::Compile(patterns);
  EXPECT_TRUE(list) << list.error().ToString();
  return *list;
}

TEST(PatternList, OddCornersOfTheRegexTranslation) {
  // moby/patternmatcher makes a regular expression of a pattern; what it lets through is behaviour.
  EXPECT_TRUE(Compile({"\\d*"}).Matches("7up"));
  EXPECT_FALSE(Compile({"\\d*"}).Matches("dup"));
  EXPECT_TRUE(Compile({"^a*"}).Matches("abc"));
  EXPECT_FALSE(Compile({"a^*"}).Matches("a^b"));
  EXPECT_TRUE(Compile({"a^"}).Matches("a^"));
  EXPECT_TRUE(Compile({"x[*]"}).Matches("x/^]"));
  EXPECT_FALSE(Compile({"x[*]"}).Matches("x*"));
  EXPECT_TRUE(Compile({"[^b]x"}).Matches("/x"));
  EXPECT_FALSE(Compile({"foo\\bar"}).Matches("foobar"));  // \b, as Windows users write it
  EXPECT_FALSE(Compile({"foo\\bar"}).Matches("foo/bar"));
  EXPECT_TRUE(Compile({"a?\\bb"}).Matches("a-b"));
  EXPECT_TRUE(Compile({"*\\z"}).Matches("abc"));
  EXPECT_TRUE(Compile({"\\x41\\102?"}).Matches("ABC"));
  EXPECT_FALSE(PatternList::Compile({"src\\Properties"}));
  EXPECT_FALSE(PatternList::Compile({"[[:alpha:]]"}));
  EXPECT_TRUE(Compile({"a**"}).Matches("abc/def"));
  EXPECT_FALSE(Compile({"a/**/b"}).Matches("a/x\ny/b"));
  EXPECT_TRUE(Compile({"a/*/b"}).Matches("a/x\ny/b"));
}

TEST(PatternList, WalkingDiffersInTheKnownCorner) {
  PatternList list = Compile({"foo/x", "!foo"});
  EXPECT_FALSE(list.Matches("foo/x"));
  EXPECT_TRUE(list.MatchesWalking("foo/x"));
}

TEST(PatternList, BelowIsAnsweredPrecisely) {
  PatternList list = Compile({"node_modules", "!node_modules/keep/*.js", "!**/README.md"});
  EXPECT_TRUE(list.MayUnmatchBelow("node_modules"));
  PatternList plain = Compile({"vendor", "!vendor/keep/*.js", "!docs/a", "!x/[ab]/c/**"});
  EXPECT_TRUE(plain.MayUnmatchBelow("vendor"));
  EXPECT_TRUE(plain.MayUnmatchBelow("vendor/keep"));
  EXPECT_FALSE(plain.MayUnmatchBelow("vendor/keeps"));
  EXPECT_FALSE(plain.MayUnmatchBelow("vendor/keep/sub"));
  EXPECT_TRUE(plain.MayUnmatchBelow("docs"));
  EXPECT_FALSE(plain.MayUnmatchBelow("docs/a"));
  EXPECT_FALSE(plain.MayUnmatchBelow("doc"));
  EXPECT_TRUE(plain.MayUnmatchBelow("x/b/c/d/e"));
  EXPECT_FALSE(plain.MayUnmatchBelow("x/c"));
  EXPECT_TRUE(plain.MayMatchBelow(""));
  EXPECT_FALSE(Compile({"a"}).MayMatchBelow("a"));
  EXPECT_TRUE(Compile({"ab**"}).MayMatchBelow("abc/d"));
  EXPECT_FALSE(Compile({"ab**"}).MayMatchBelow("a"));
}

TEST(PatternList, BelowNeverDeniesAMatch) {
  // Whatever matches a path must be announced for each of its parents.
  std::vector<std::string> paths = {"a", "a/b", "a/b/c", "ab/c", "a/bb/c/d", "x/a/b", "x/y/z/c"};
  for (const char* pattern :
       {"a", "a/*", "a/**", "**/c", "a*/c", "a/b?/**/d", "**/b/**", "x/**/c", "[xa]/*/[a-c]", "**", "a**", "?/b/c"}) {
    PatternList list = Compile({pattern});
    for (const std::string& path : paths) {
      auto glob = Glob::CompileIgnore(pattern);
      ASSERT_TRUE(glob);
      if (!glob->Matches(path)) continue;
      for (RelPath p = RelPath(path).Parent(); !p.IsRoot(); p = p.Parent()) {
        EXPECT_TRUE(list.MayMatchBelow(p.str())) << pattern << " " << path << " " << p.str();
      }
    }
  }
}

}  // namespace
}  // namespace varve::tree
