// What commands a RUN is read as, and what they are known to install.
#include "dockerfile/shell_commands.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "dockerfile/package_managers.h"
#include "dockerfile/parser.h"

namespace varve::dockerfile {
namespace {

using Texts = std::vector<std::string>;

Texts Commands(std::string_view text) {
  Texts out;
  for (const ShellCommand& command : SplitShell(text)) out.push_back(Join(command.words, "|"));
  return out;
}

TEST(SplitShell, CutsAtOperators) {
  EXPECT_EQ(Commands("a && b||c ; d | e & f\ng"), (Texts{"a", "b", "c", "d", "e", "f", "g"}));
  EXPECT_EQ(Commands("set -eux; \\\n  apt-get update; \\\n  true"), (Texts{"set|-eux", "apt-get|update", "true"}));
}

TEST(SplitShell, QuotesHoldWordsTogether) {
  EXPECT_EQ(Commands(R"(echo "a && b" 'c;d' e\ f "x\"y")"), Texts{R"(echo|a && b|c;d|e f|x"y)"});
  EXPECT_EQ(Commands("pip install \"x[y]>=1\" 'z<2'"), Texts{"pip|install|x[y]>=1|z<2"});
}

TEST(SplitShell, SubstitutionsStayPartOfTheirWord) {
  EXPECT_EQ(Commands("tag=$(git describe; true) go build -X=$(date -u) ${A:-b c}"),
            Texts{"go|build|-X=$(date -u)|${A:-b c}"});
  EXPECT_EQ(Commands("echo `a && b`"), Texts{"echo|`a && b`"});
}

TEST(SplitShell, DropsRedirectionsCommentsAndAssignments) {
  EXPECT_EQ(Commands("A=1 B='2 3' npm ci >log 2>&1 </dev/null"), Texts{"npm|ci"});
  EXPECT_EQ(Commands("make 2> err && x &> all # && npm ci\ny"), (Texts{"make", "x", "y"}));
  EXPECT_EQ(Commands("echo a#b"), Texts{"echo|a#b"});
}

TEST(SplitShell, LooksIntoGroupsConditionsAndShells) {
  EXPECT_EQ(Commands("if [ -f yarn.lock ]; then yarn; else npm ci; fi"), (Texts{"[|-f|yarn.lock|]", "yarn", "npm|ci"}));
  EXPECT_EQ(Commands("( cd x && npm ci ); { a; }"), (Texts{"cd|x", "npm|ci", "a"}));
  EXPECT_EQ(Commands("bash -exc 'a && b'"), (Texts{"a", "b"}));
  EXPECT_EQ(Commands("sudo -E env X=1 apt-get update"), Texts{"apt-get|update"});
  EXPECT_EQ(Commands("for f in npm ci; do x; done"), Texts{"x"});
}

TEST(SplitShell, EndsWithUnfinishedText) {
  EXPECT_EQ(Commands("a 'b"), Texts{"a|b"});
  EXPECT_EQ(Commands("a $(b"), Texts{"a|$(b"});
  EXPECT_EQ(Commands("a \\"), Texts{"a"});
  EXPECT_EQ(Commands(" ; && "), Texts{});
}

Texts OfRun(const std::string& instruction) {
  auto file = ParseDockerfile("FROM a\n" + instruction + "\n");
  EXPECT_TRUE(file);
  Texts out;
  for (const ShellCommand& command : CommandsOf(std::get<Run>(file->stages[0].instructions[0].body))) {
    out.push_back(Join(command.words, "|"));
  }
  return out;
}

TEST(CommandsOf, BothFormsAndHereDocuments) {
  EXPECT_EQ(OfRun("RUN a \\\n  && b"), (Texts{"a", "b"}));
  EXPECT_EQ(OfRun("RUN [\"npm\", \"ci\"]"), Texts{"npm|ci"});
  EXPECT_EQ(OfRun("RUN [\"sh\", \"-c\", \"a; b\"]"), (Texts{"a", "b"}));
  EXPECT_EQ(OfRun("RUN <<EOF\napt-get update\nnpm ci\nEOF"), (Texts{"apt-get|update", "npm|ci"}));
  EXPECT_EQ(OfRun("RUN cat <<EOF >x\nnpm ci\nEOF"), Texts{"cat"});
}

// "manager kind", or "".
std::string Installs(std::string_view text) {
  std::string out;
  for (const ShellCommand& command : SplitShell(text)) {
    auto install = InstallOf(command);
    if (!install) continue;
    static constexpr const char* kKinds[] = {"manifest", "named", "local", "compile"};
    if (!out.empty()) out += ", ";
    out += fmt::format("{} {}", install->manager->name, kKinds[static_cast<int>(install->kind)]);
  }
  return out;
}

TEST(InstallOf, Node) {
  EXPECT_EQ(Installs("npm ci"), "npm manifest");
  EXPECT_EQ(Installs("npm install --omit=dev --prefix web"), "npm manifest");
  EXPECT_EQ(Installs("npm i -g pnpm@9"), "npm named");
  EXPECT_EQ(Installs("npm install -g ./pkg.tgz"), "npm local");
  EXPECT_EQ(Installs("npm run build && npm prune"), "");
  EXPECT_EQ(Installs("yarn"), "yarn manifest");
  EXPECT_EQ(Installs("yarn --frozen-lockfile"), "yarn manifest");
  EXPECT_EQ(Installs("yarn build"), "");
  EXPECT_EQ(Installs("yarn global add x"), "yarn named");
  EXPECT_EQ(Installs("pnpm fetch && pnpm install --offline"), "pnpm manifest, pnpm manifest");
  EXPECT_EQ(Installs("corepack enable && corepack pnpm install"), "pnpm manifest");
}

TEST(InstallOf, Python) {
  EXPECT_EQ(Installs("pip install -r requirements.txt"), "pip manifest");
  EXPECT_EQ(Installs("pip3 install --no-cache-dir -U pip setuptools"), "pip named");
  EXPECT_EQ(Installs("python3 -m pip install --requirement=dev.txt"), "pip manifest");
  EXPECT_EQ(Installs("pip install ."), "pip local");
  EXPECT_EQ(Installs("pip install -e .[test]"), "pip local");
  EXPECT_EQ(Installs("pip install -r /tmp/made.txt"), "pip local");
  EXPECT_EQ(Installs("pip install --no-index --find-links /wheels x"), "pip local");
  EXPECT_EQ(Installs("poetry install --no-root; uv sync --frozen; uv pip install x"),
            "poetry manifest, uv manifest, uv named");
}

TEST(InstallOf, Compilers) {
  EXPECT_EQ(Installs("go mod download && go build ./..."), "go manifest, go compile");
  EXPECT_EQ(Installs("go install example.com/tool@v1"), "go named");
  EXPECT_EQ(Installs("go version; go vet"), "");
  EXPECT_EQ(Installs("cargo build --release --features x"), "cargo compile");
  EXPECT_EQ(Installs("cargo +nightly install --locked cargo-chef --version 1"), "cargo named");
  EXPECT_EQ(Installs("cargo install --path ."), "cargo compile");
  EXPECT_EQ(Installs("./mvnw -B dependency:go-offline"), "maven manifest");
  EXPECT_EQ(Installs("mvn -q -DskipTests package"), "maven compile");
  EXPECT_EQ(Installs("gradle :app:bootJar --no-daemon"), "gradle compile");
  EXPECT_EQ(Installs("dotnet restore && dotnet publish -c Release"), "dotnet manifest, dotnet compile");
}

TEST(InstallOf, Systems) {
  EXPECT_EQ(Installs("apt-get update && apt-get install -y --no-install-recommends git"), "apt named");
  EXPECT_EQ(Installs("apt install -y ./x.deb"), "apt local");
  EXPECT_EQ(Installs("apk add --no-cache --virtual .deps gcc"), "apk named");
  EXPECT_EQ(Installs("dnf -y install gcc"), "dnf named");
  EXPECT_EQ(Installs("apt-get purge -y gcc; apk del x; apt-get --version"), "");
}

}  // namespace
}  // namespace varve::dockerfile
