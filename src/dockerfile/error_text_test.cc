// What a user sees of a Dockerfile with a mistake: message, hint and excerpt, for every way to make
// one. tests/golden/dockerfile/errors holds one text per group.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/fd.h"
#include "dockerfile/caret.h"
#include "dockerfile/lower_test.h"
#include "dockerfile/undeclared_args.h"

namespace varve::dockerfile {
namespace {

// What parsing, or else lowering, says.
std::optional<SourceError> ErrorOf(const std::string& text) {
  auto file = ParseDockerfile(text);
  if (!file) return file.error();
  FakeImages images;
  images.missing = "docker.io/library/biuld:latest";
  LowerOptions options;
  options.target_platform = {.os = "linux", .architecture = "amd64"};
  options.build_platform = options.target_platform;
  auto lowered = Lower(*file, options, images);
  if (!lowered) return lowered.error();
  return std::nullopt;
}

std::string Render(const std::vector<std::string>& files) {
  std::string out;
  for (const std::string& text : files) {
    auto found = ErrorOf(text);
    if (!found) {
      out += "accepted: " + text + "\n";
      continue;
    }
    const SourceError& error = *found;
    out += RenderError("Dockerfile", text, error.error.message, error.span) + error.error.ToString() + "\n\n";
  }
  return out;
}

void Compare(const std::string& name, const std::vector<std::string>& files) {
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/dockerfile/errors/" + name;
  std::string got = Render(files);
  if (std::getenv("VARVE_ACCEPT") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, got));
    return;
  }
  auto want = ReadFile(path);
  ASSERT_TRUE(want) << want.error().ToString();
  EXPECT_EQ(got, *want) << "VARVE_ACCEPT=1 rewrites " << path;
}

// Each becomes an instruction behind a FROM.
std::vector<std::string> Behind(const std::vector<std::string>& instructions) {
  std::vector<std::string> files;
  for (const std::string& text : instructions) files.push_back("FROM a\n" + text + "\n");
  return files;
}

TEST(ErrorText, File) {
  Compare("file", {"", "# only a comment\n\n", "RUN x\nFROM a\n", "ARG A\nCOPY a b\n", "# escape=x\nFROM a\n",
                   "# escape=`\n# escape=\\\nFROM a\n", "# syntax=a\n# Syntax=b\nFROM a\n"});
}

TEST(ErrorText, UnknownInstruction) {
  Compare("unknown_instruction", {"FROM a\n\nRUN true\n  RNU echo hi \\\n  there\nRUN false\n", "FORM a\n",
                                  "FROM a\ncopyy a b\n", "FROM a\nBuild it\n", "FROM a\nRUN x \\\\\n  && y\n"});
}

TEST(ErrorText, From) {
  Compare("from", {"FROM\n", "FROM a b\n", "FROM a AS\n", "FROM a AS 1st\n", "FROM a AS x/y\n", "FROM a in b\n",
                   "FROM --plattform=x a\n", "FROM --platform a\n"});
}

TEST(ErrorText, Flags) {
  Compare("flags", Behind({"COPY --form=x a b", "COPY --xyz a b", "COPY --from=a --from=b c d", "COPY --chmod a b",
                           "COPY --link= a b", "COPY --link=maybe a b", "ADD --from=x a b",
                           "RUN --mont=type=cache,target=/x y", "ENV --x A=1", "WORKDIR --x /y"}));
}

TEST(ErrorText, Operands) {
  Compare("operands", Behind({"COPY a", "ADD", "ENV A", "ENV A=1 B", "ENV =x", "LABEL", "ARG", "ARG =x", "WORKDIR",
                              "USER", "STOPSIGNAL", "MAINTAINER", "EXPOSE", "VOLUME", "VOLUME [\" \"]", "SHELL bash -c",
                              "SHELL []", "CMD [\"a\", 1]", "ENTRYPOINT [true]"}));
}

TEST(ErrorText, Healthcheck) {
  Compare("healthcheck", Behind({"HEALTHCHECK", "HEALTHCHECK NONE x", "HEALTHCHECK CMD", "HEALTHCHECK curl x",
                                 "HEALTHCHECK --interval=5 CMD x", "HEALTHCHECK --timeout=5q CMD x",
                                 "HEALTHCHECK --interval=soon CMD x", "HEALTHCHECK --start-period=10us CMD x",
                                 "HEALTHCHECK --interval=-1s CMD x", "HEALTHCHECK --retries=x CMD x",
                                 "HEALTHCHECK --retries=-1 CMD x", "HEALTHCHECK --retries=99999999999 CMD x"}));
}

TEST(ErrorText, OnBuild) {
  Compare("onbuild", Behind({"ONBUILD", "ONBUILD ONBUILD RUN x", "ONBUILD from a", "ONBUILD MAINTAINER m",
                             "ONBUILD --x RUN y", "ONBUILD ENV A"}));
}

TEST(ErrorText, Heredoc) {
  Compare("heredoc", Behind({"RUN <<EOF\necho\nEOF x", "COPY <<A <<B /x\nA\nb", "COPY a <<EOF\nEOF",
                             "RUN --network=none --x=<<EOF\nEOF"}));
}

TEST(ErrorText, Run) {
  Compare("run", Behind({"RUN --network=bridge x", "RUN --security=none x", "RUN --mount=type=bind,from=$X,target=/y z",
                         "RUN --mount=type=bind,\\\"a x", "RUN --device=a,b x", "RUN --device=a,required=maybe x"}));
}

// From here on the file parses, and lowering refuses it.
TEST(ErrorText, Expansion) {
  Compare("expansion",
          Behind({"ENV A=${B:?}", "ARG B\nWORKDIR /x/${B?tell me where}", "ENV A=${A", "ENV A=${}", "ENV A=${A!x}",
                  "ENV A=${A:#x}", "ENV A=${A/x", "ENV A=${A#\\d}", "COPY ${ a /b", "LABEL a=${A:^x}"}));
}

TEST(ErrorText, Stages) {
  Compare("stages", {"ARG X\nFROM $X\n", "FROM a AS build\nFROM b\nCOPY --from=biuld /x /\n",
                     "FROM a AS build\nFROM biuld\n", "FROM a\nCOPY --from=7 /x /\n", "FROM a\nCOPY --from=$X /x /\n",
                     "FROM a AS x\nCOPY --from=y /a /\nFROM b AS y\nFROM x\n",
                     "FROM a AS x\nRUN --mount=from=y,target=/t true\nFROM b AS y\nFROM x\n",
                     "FROM a AS x\nCOPY --from=x /a /b\n", "FROM a:b:c\n", "FROM UPPER\n", "FROM --platform=$NONE a\n",
                     "FROM --platform=linux/a/b/c a\n", "ARG MY_ARCH\nFROM --platform=linux/${MYARCH} a\n", "ARG A\n"});
}

TEST(ErrorText, Mounts) {
  Compare("mounts", Behind({"RUN --mount=type=chace,target=/x true",
                            "RUN --mount=type=cache,taget=/x true",
                            "RUN --mount=type=cache,target=/x,sharing=lokced true",
                            "RUN --mount=type=cache,target true",
                            "RUN --mount=size=5,type=tmpfs,target=/x true",
                            "RUN --mount=type=tmpfs,target=/x,size=big true",
                            "RUN --mount=type=cache,target=/x,mode=rwx true",
                            "RUN --mount=type=cache,target=/x,uid=me true",
                            "RUN --mount=type=bind,target=/x,mode=0755 true",
                            "RUN --mount=type=bind true",
                            "RUN --mount=type=secret true",
                            "RUN --mount=type=secret,id=a,source=b true",
                            "RUN --mount=type=secret,id=a,from=b true",
                            "RUN --mount=type=secret,id=a,required=maybe true",
                            "RUN --mount=type=secret,id=a,sharing=shared true",
                            "RUN --mount=type=ssh,source=x true",
                            "RUN --mount=type=bind,target=/x,sharing=shared true",
                            "RUN --network=host true",
                            "RUN --security=insecure true",
                            "RUN --device=vendor.com/gpu true"}));
}

TEST(ErrorText, Files) {
  Compare("files", Behind({"COPY --chmod=rwx a /b", "COPY --chmod=77777 a /b", "COPY https://x.org/a /b",
                           "COPY https://x.org/a.git /b", "ADD --checksum=sha256:1 a /b",
                           "ADD --checksum=md5:1 https://x.org/a /b", "ADD --checksum=sha256:1 a b /c/",
                           "ADD https://x.org/a.git?brnch=x /b", "ADD https://x.org/a.git?ref=a&tag=b /b"}));
}

TEST(ErrorText, Config) {
  Compare("config", Behind({"EXPOSE 80/icmp", "EXPOSE web", "EXPOSE 1.2.3:80:80", "EXPOSE 70000", "STOPSIGNAL SIGSTOPP",
                            "VOLUME $NONE"}));
}

TEST(ErrorText, Checks) {
  Compare("checks",
          {"# check=error=true\nFROM a as B\n", "# check=skpi=all\nFROM a\n", "# check=error=maybe\nFROM a\n"});
}

TEST(UnknownFilteredStages, AreThoseThatNoStageIsCalled) {
  auto file = ParseDockerfile("FROM a AS Build\nFROM build\n");
  ASSERT_TRUE(file);
  EXPECT_TRUE(UnknownFilteredStages(*file, {"BUILD", "build"}).empty());
  EXPECT_EQ(UnknownFilteredStages(*file, {"biuld", "other"}),
            (std::vector<std::string>{"no stage has the name biuld of --no-cache-filter (did you mean build?)",
                                      "no stage has the name other of --no-cache-filter"}));
}

TEST(MisspeltBuildArgs, AreThoseNextToADeclaredOne) {
  auto file = ParseDockerfile("ARG VERSION\nFROM a\nARG REVISION=1\n");
  ASSERT_TRUE(file);
  auto said = [&](const char* name) { return MisspeltBuildArgs(*file, {{name, "1"}}); };
  EXPECT_EQ(said("VERSOIN"),
            (std::vector<std::string>{"build argument VERSOIN is not declared (did you mean VERSION?)"}));
  EXPECT_TRUE(said("VERSION").empty());
  EXPECT_TRUE(said("REVISION").empty());
  EXPECT_TRUE(said("SOMETHING_ELSE").empty()) << "nobody's, and ignored as it always was";
  EXPECT_TRUE(said("http_proxy").empty());
  EXPECT_TRUE(said("BUILDKIT_INLINE_CACHE").empty());
}

TEST(PlaceOfError, IsTheWordOfTheMessage) {
  auto place = [](std::string_view message, std::string_view source, Span span) {
    Span found = PlaceOfError(message, source, span);
    return fmt::format("{}:{}-{}", found.start_line, found.start_column, found.end_column);
  };
  Span first = Span::Lines(1, 1);
  EXPECT_EQ(place("x \"b\" y", "RUN abc b", first), "1:9-9") << "as a word of its own";
  EXPECT_EQ(place("x 'b' in 'b=1'", "RUN b b=1", first), "1:7-9") << "the longer one";
  EXPECT_EQ(place("no word", "  RUN a", first), "1:3-5");
  EXPECT_EQ(place("bad \"x\"", "RUN a \\\n # x\n  && x", Span::Lines(1, 3)), "3:6-6");
  EXPECT_EQ(place("bad \"x\"", "RUN x", Span{1, 1, 2, 3}), "1:2-3") << "known already";
  EXPECT_EQ(place("not found", "FROM --platform=p img AS x", first), "1:19-21");
  EXPECT_EQ(place("https://r.example/v2/i/manifests/9: no host: r.example", "FROM r.example/i:9", first), "1:6-18")
      << "not parts of a URL";
  EXPECT_EQ(place("http://h/f: Could not connect to h", "ADD http://h/f /", first), "1:5-14");
  EXPECT_EQ(place("bad \"x\"", "RUN x", Span::Lines(9, 9)), "9:0-0") << "outside";
}

TEST(RenderError, PutsTheMarkBelowTheWord) {
  EXPECT_EQ(RenderError("D", "RUN\t\u00e4 \"wr\u00f6ng\" x", "bad \"wr\u00f6ng\"", Span::Lines(1, 1)),
            "D:1:9\n--------------------\n   1 | >>> RUN\t\u00e4 \"wr\u00f6ng\" x\n     |        \t   "
            "^~~~~\n--------------------\n");
}

}  // namespace
}  // namespace varve::dockerfile
