#include "packages/package_file.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace varve::packages {
namespace {

using ::testing::HasSubstr;

// Whether an edit from one text to the other would run the installation again.
void ExpectSame(Kind kind, std::string_view a, std::string_view b) {
  EXPECT_EQ(CanonicalForm(kind, a).refused, "");
  EXPECT_EQ(CanonicalForm(kind, a).form, CanonicalForm(kind, b).form) << b;
}
void ExpectDifferent(Kind kind, std::string_view a, std::string_view b) {
  EXPECT_NE(CanonicalForm(kind, a).form, CanonicalForm(kind, b).form) << b;
}
std::string Refused(Kind kind, std::string_view text) {
  Canonical canonical = CanonicalForm(kind, text);
  EXPECT_EQ(canonical.form, text) << "all of it counts";
  return canonical.refused;
}

TEST(PackageJson, CountsWhatIsInstalled) {
  std::string_view base =
      R"({"name": "a", "version": "1.0.0", "scripts": {"test": "x"}, "dependencies": {"b": "^1", "c": "2"}})";
  ExpectSame(Kind::kNpm, base, R"({"name":"a","version":"2.0.0","dependencies":{"c":"2","b":"^1"}})");
  ExpectSame(
      Kind::kNpm, base,
      R"({"name": "a", "scripts": {"build": "y"}, "description": "d", "jest": {}, "dependencies": {"b": "^1", "c": "2"}})");
  ExpectDifferent(Kind::kNpm, base, R"({"name": "a", "dependencies": {"b": "^1", "c": "3"}})");
  ExpectDifferent(Kind::kNpm, base, R"({"name": "a", "dependencies": {"b": "^1"}})");
  for (const char* member : {"devDependencies", "optionalDependencies", "peerDependencies", "overrides", "resolutions",
                             "engines", "packageManager", "pnpm", "neverHeardOf", "config", "bin"}) {
    ExpectDifferent(Kind::kNpm, R"({"name": "a"})", fmt::format(R"({{"name": "a", "{}": {{"x": "1"}}}})", member));
  }
}

TEST(PackageJson, IsRefusedWhereScriptsRunAtInstallation) {
  for (const char* script : {"preinstall", "install", "postinstall", "prepare", "prepublish", "dependencies"}) {
    EXPECT_THAT(Refused(Kind::kNpm, fmt::format(R"({{"scripts": {{"{}": "node x.js"}}}})", script)), HasSubstr(script));
  }
  EXPECT_THAT(Refused(Kind::kNpm, R"({"workspaces": ["a"]})"), HasSubstr("workspaces"));
  EXPECT_THAT(Refused(Kind::kNpm, "{"), HasSubstr("no JSON"));
  EXPECT_THAT(Refused(Kind::kNpm, "[1]"), HasSubstr("no JSON object"));
}

TEST(PackageLock, CountsAllButTheProjectsOwnVersion) {
  std::string_view base =
      R"({"name":"a","version":"1.0.0","lockfileVersion":3,"packages":{"":{"name":"a","version":"1.0.0",
    "dependencies":{"b":"1"}},"node_modules/b":{"version":"1.0.0","integrity":"sha512-x"}}})";
  ExpectSame(Kind::kNpmLock, base,
             R"({"name":"a","version":"2.0.0","lockfileVersion":3,"packages":{"":{"name":"a",
    "version":"2.0.0","dependencies":{"b":"1"}},"node_modules/b":{"version":"1.0.0","integrity":"sha512-x"}}})");
  ExpectDifferent(Kind::kNpmLock, base,
                  R"({"name":"a","lockfileVersion":3,"packages":{"":{"name":"a",
    "dependencies":{"b":"1"}},"node_modules/b":{"version":"1.0.1","integrity":"sha512-x"}}})");
}

TEST(Requirements, CommentsAndBlanksDoNotCount) {
  ExpectSame(Kind::kPip, "a==1\nb>=2 # why\n", "# list\n\na==1\r\n  b>=2\n");
  ExpectSame(Kind::kPip, "a==1 \\\n    --hash=sha256:x\n", "a==1     --hash=sha256:x");
  ExpectSame(Kind::kPip, "a @ https://h/x#egg=a\n", "a @ https://h/x#egg=a # c\n");
  ExpectDifferent(Kind::kPip, "a @ https://h/x#egg=a\n", "a @ https://h/x\n");
  ExpectDifferent(Kind::kPip, "a==1\nb\n", "b\na==1\n");
  ExpectDifferent(Kind::kPip, "a==1\n", "a==1\n--index-url https://x\n");
  ExpectDifferent(Kind::kPip, "a==1\n", "a==1;python_version<'3'\n");
  // A comment line ends a line that went on.
  ExpectDifferent(Kind::kPip, "a\\\n# x\nb\n", "ab\n");
}

TEST(Pyproject, CountsDependenciesAndUnknownTools) {
  std::string_view base =
      "[project]\nname = \"a\"\nversion = \"1\"\ndependencies = [\"b\", "
      "\"c>1\"]\n[tool.ruff]\nline-length = 80\n";
  ExpectSame(Kind::kPyproject, base,
             "# c\n[project]\nversion = \"2\"\nname = 'a'\ndescription = \"d\"\ndependencies = [\n "
             " \"b\",\n  \"c>1\",\n]\n[tool.black]\n");
  ExpectDifferent(Kind::kPyproject, base, "[project]\nname = \"a\"\ndependencies = [\"b\"]\n");
  ExpectDifferent(Kind::kPyproject, base,
                  "[project]\nname = \"a\"\ndependencies = [\"b\", \"c>1\"]\n[tool.uv]\nindex-url = \"x\"\n");
  ExpectDifferent(Kind::kPyproject, "[tool.poetry]\nname='a'\nversion='1'\n", "[tool.poetry]\nname='b'\nversion='1'\n");
  ExpectSame(Kind::kPyproject, "[tool.poetry]\nname='a'\nversion='1'\n", "[tool.poetry]\nname='a'\nversion='2'\n");
  ExpectDifferent(Kind::kPyproject, "x = 1.5\n", "x = \"1.5\"\n");
  ExpectDifferent(Kind::kPyproject, "x = 2020-01-01\n", "x = 2020-01-02\n");
  EXPECT_THAT(Refused(Kind::kPyproject, "[project\n"), HasSubstr("no TOML"));
  // What toml++ has an assertion for, and what it takes for unreachable.
  EXPECT_THAT(Refused(Kind::kPyproject, "[@project]\n"), HasSubstr("no TOML"));
  EXPECT_THAT(Refused(Kind::kPyproject, "x = \u00e9\n"), HasSubstr("no TOML"));
  EXPECT_THAT(Refused(Kind::kPyproject, "[tool.uv.workspace]\nmembers = []\n"), HasSubstr("workspace"));
}

TEST(Pom, CountsAllButWhoAndWhere) {
  std::string_view base =
      "<project><version>1</version><dependencies><dependency><artifactId>a</artifactId></"
      "dependency></dependencies></project>";
  ExpectSame(Kind::kMaven, base,
             "<?xml version=\"1.0\"?>\n<project>\n  <!-- c -->\n  "
             "<version>2</version><name>n</name>\n  <dependencies><dependency>\n"
             "  <artifactId> a </artifactId></dependency></dependencies>\n</project>\n");
  ExpectDifferent(Kind::kMaven, base,
                  "<project><dependencies><dependency><artifactId>a</artifactId><version>2</"
                  "version></dependency></dependencies></project>");
  ExpectDifferent(Kind::kMaven, "<project><build a=\"1\"/></project>", "<project><build a=\"2\"/></project>");
  ExpectDifferent(Kind::kMaven, "<project><a><b/></a></project>", "<project><a/><b/></project>");
  EXPECT_THAT(Refused(Kind::kMaven, "<project><version>1</version><x>${project.version}</x></project>"),
              HasSubstr("${project.version}"));
  EXPECT_THAT(Refused(Kind::kMaven, "<project><modules><module>a</module></modules></project>"), HasSubstr("modules"));
  EXPECT_THAT(Refused(Kind::kMaven, "<!DOCTYPE p [<!ENTITY a \"b\">]><p>&a;</p>"), HasSubstr("document type"));
  EXPECT_THAT(Refused(Kind::kMaven, "<project>"), HasSubstr("no XML"));
}

TEST(GoMod, CountsDirectives) {
  std::string_view base = "module a\n\ngo 1.22\n\nrequire (\n\tb.c/d v1.0.0\n\te.f/g v2.0.0 // indirect\n)\n";
  ExpectSame(Kind::kGoMod, base,
             "// hello\nmodule a\ngo 1.22\nrequire b.c/d v1.0.0\nrequire e.f/g v2.0.0\nretract v0.1.0\n");
  ExpectDifferent(Kind::kGoMod, base, "module a\ngo 1.22\nrequire b.c/d v1.0.1\nrequire e.f/g v2.0.0\n");
  ExpectDifferent(Kind::kGoMod, base, "module a\ngo 1.23\nrequire b.c/d v1.0.0\nrequire e.f/g v2.0.0\n");
  ExpectDifferent(Kind::kGoMod, base,
                  "module a\ngo 1.22\nrequire b.c/d v1.0.0\nrequire e.f/g v2.0.0\nreplace b.c/d => ../d\n");
  EXPECT_THAT(Refused(Kind::kGoMod, "require (\n"), HasSubstr("not closed"));
  EXPECT_THAT(Refused(Kind::kGoMod, ")\n"), HasSubstr("not opened"));
  EXPECT_THAT(Refused(Kind::kGoMod, "module \"a\n"), HasSubstr("quote"));
}

TEST(PackageFile, KindsCompanionsAndPrograms) {
  EXPECT_EQ(KindOf("requirements-dev.txt"), Kind::kPip);
  EXPECT_EQ(KindOf("dev-requirements.txt"), Kind::kPip);
  EXPECT_EQ(KindOf("notes.txt"), std::nullopt);
  EXPECT_EQ(KindOf("Package.json"), std::nullopt);
  EXPECT_TRUE(IsCompanion("go.sum"));
  EXPECT_FALSE(IsCompanion("index.js"));
  EXPECT_TRUE(Reads("npm", Kind::kNpmLock));
  EXPECT_FALSE(Reads("npm", Kind::kPip));
  EXPECT_FALSE(Reads("make", Kind::kNpm));
}

}  // namespace
}  // namespace varve::packages
