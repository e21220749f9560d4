// What a user sees of a Dockerfile with a mistake: message, hint and excerpt, for every way to make
// one. tests/golden/dockerfile/errors holds one text per group.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/fd.h"
#include "dockerfile/excerpt.h"
#include "dockerfile/parser.h"

namespace varve::dockerfile {
namespace {

std::string Render(const std::vector<std::string>& files) {
  std::string out;
  for (const std::string& text : files) {
    auto file = ParseDockerfile(text);
    if (file) {
      out += "parsed: " + text + "\n";
      continue;
    }
    const SourceError& error = file.error();
    out += RenderExcerpt("Dockerfile", text, {&error.span, 1}) + error.error.ToString() + "\n\n";
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
  Compare("file", {"", "# only a comment\n\n", "RUN x\nFROM a\n", "ARG A\nCOPY a b\n",
                   "# escape=x\nFROM a\n", "# escape=`\n# escape=\\\nFROM a\n",
                   "# syntax=a\n# Syntax=b\nFROM a\n"});
}

TEST(ErrorText, UnknownInstruction) {
  Compare("unknown_instruction",
          {"FROM a\n\nRUN true\n  RNU echo hi \\\n  there\nRUN false\n", "FORM a\n",
           "FROM a\ncopyy a b\n", "FROM a\nBuild it\n", "FROM a\nRUN x \\\\\n  && y\n"});
}

TEST(ErrorText, From) {
  Compare("from", {"FROM\n", "FROM a b\n", "FROM a AS\n", "FROM a AS 1st\n", "FROM a AS x/y\n",
                   "FROM a in b\n", "FROM --plattform=x a\n", "FROM --platform a\n"});
}

TEST(ErrorText, Flags) {
  Compare("flags", Behind({"COPY --form=x a b", "COPY --xyz a b", "COPY --from=a --from=b c d",
                           "COPY --chmod a b", "COPY --link= a b", "COPY --link=maybe a b",
                           "ADD --from=x a b", "RUN --mont=type=cache,target=/x y", "ENV --x A=1",
                           "WORKDIR --x /y"}));
}

TEST(ErrorText, Operands) {
  Compare("operands", Behind({"COPY a", "ADD", "ENV A", "ENV A=1 B", "ENV =x", "LABEL", "ARG",
                              "ARG =x", "WORKDIR", "USER", "STOPSIGNAL", "MAINTAINER", "EXPOSE",
                              "VOLUME", "VOLUME [\" \"]", "SHELL bash -c", "SHELL []",
                              "CMD [\"a\", 1]", "ENTRYPOINT [true]"}));
}

TEST(ErrorText, Healthcheck) {
  Compare("healthcheck",
          Behind({"HEALTHCHECK", "HEALTHCHECK NONE x", "HEALTHCHECK CMD", "HEALTHCHECK curl x",
                  "HEALTHCHECK --interval=5 CMD x", "HEALTHCHECK --timeout=5q CMD x",
                  "HEALTHCHECK --interval=soon CMD x", "HEALTHCHECK --start-period=10us CMD x",
                  "HEALTHCHECK --interval=-1s CMD x", "HEALTHCHECK --retries=x CMD x",
                  "HEALTHCHECK --retries=-1 CMD x", "HEALTHCHECK --retries=99999999999 CMD x"}));
}

TEST(ErrorText, OnBuild) {
  Compare("onbuild", Behind({"ONBUILD", "ONBUILD ONBUILD RUN x", "ONBUILD from a",
                             "ONBUILD MAINTAINER m", "ONBUILD --x RUN y", "ONBUILD ENV A"}));
}

TEST(ErrorText, Heredoc) {
  Compare("heredoc", Behind({"RUN <<EOF\necho\nEOF x", "COPY <<A <<B /x\nA\nb", "COPY a <<EOF\nEOF",
                             "RUN --network=none --x=<<EOF\nEOF"}));
}

TEST(ErrorText, Run) {
  Compare("run",
          Behind({"RUN --network=bridge x", "RUN --security=none x",
                  "RUN --mount=type=bind,from=$X,target=/y z", "RUN --mount=type=bind,\\\"a x",
                  "RUN --device=a,b x", "RUN --device=a,required=maybe x"}));
}

}  // namespace
}  // namespace varve::dockerfile
