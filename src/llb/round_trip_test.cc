// What goes out as LLB comes back as the same graph: every real Dockerfile of the corpus (VARVE_CORPUS, as in
// dockerfile/lower_corpus_test.cc), and files that use what the corpus does not.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>

#include "base/fd.h"
#include "base/strings.h"
#include "dockerfile/lower.h"
#include "dockerfile/lower_test.h"
#include "graph/join.h"
#include "llb/definition.h"

namespace varve::llb {
namespace {

std::string CorpusDirectory() {
  if (const char* given = std::getenv("VARVE_CORPUS")) return given;
  return std::string(VARVE_SOURCE_DIR) + "/../shared/corpus";
}

std::vector<std::string> CorpusFiles() {
  std::vector<std::string> files;
  auto text = ReadFile(CorpusDirectory() + "/verdicts.jsonl");
  if (!text) return files;
  for (const std::string& line : Split(*text, '\n')) {
    auto json = Json::Parse(line);
    if (json) files.push_back(json->GetString("File"));
  }
  return files;
}

bool IsEmpty(const graph::Step& step) {
  if (const auto* file = std::get_if<graph::FileOp>(&step.op)) return file->base < 0 && file->actions.empty();
  return std::holds_alternative<graph::Merge>(step.op) && step.inputs.empty();
}

// All that decides a step's result and how it is obtained, and what people are told of it, of the step and of
// all that it needs: equal texts are equal builds. Steps that are the same operation on the same inputs are
// one Op in LLB, under the first one's name, so names are compared only where there is one such step.
struct Said {
  std::map<std::string, std::multimap<std::string, std::string>> steps;  // identity → what is told of it
  std::string root;
};

Said Describe(const graph::Graph& graph, const std::optional<graph::Ref>& root) {
  Said said;
  if (!root || IsEmpty(graph.at(*root))) return said;
  std::vector<bool> needed(graph.steps.size(), false);
  needed[root->step] = true;
  for (size_t i = root->step + 1; i-- > 0;) {
    if (!needed[i]) continue;
    for (const graph::Ref& input : graph.steps[i].inputs) needed[input.step] = true;
  }
  std::vector<std::string> identities;
  for (size_t i = 0; i <= root->step; ++i) {
    graph::Step step = graph.steps[i];
    std::vector<graph::Ref> inputs = step.inputs;
    for (size_t k = 0; k < step.inputs.size(); ++k) step.inputs[k].step = static_cast<uint32_t>(k);
    std::string text = IsEmpty(step) ? "empty" : graph::Identity(step);
    for (const graph::Ref& input : inputs) text += identities[input.step];
    identities.push_back(Digest::Of(text).Hex());
    if (!needed[i] || IsEmpty(step)) continue;
    said.steps[identities[i]].emplace(
        step.name, fmt::format("{} | {} | {} | {}:{}-{} | {} | {}", graph::CanonicalOp(step).DumpCanonical(),
                               step.stage, step.text, step.location.file, step.location.first_line,
                               step.location.last_line, Join(step.arg_names, ","), step.no_cache_rule));
  }
  said.root = identities[root->step] + "/" + std::to_string(root->output);
  return said;
}

// VARVE_ACCEPT=1 rewrites the file. The same files are seeds of tests/fuzz/llb_fuzz.cc.
void ExpectGolden(const std::string& name, const pb::Definition& definition) {
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/llb/" + name;
  std::string bytes = Serialise(definition);
  if (std::getenv("VARVE_ACCEPT") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, bytes));
  }
  auto golden = ReadFile(path);
  ASSERT_TRUE(golden) << "run once with VARVE_ACCEPT=1";
  EXPECT_TRUE(bytes == *golden) << name << " differs; decoded:\n" << definition.DebugString();
}

void ExpectSame(const graph::Graph& graph, const std::optional<graph::Ref>& root) {
  pb::Definition definition = Encode(graph, root);
  auto decoded = Decode(definition, {.platform = {.os = "plan9", .architecture = "none"}});
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  Said before = Describe(graph, root), after = Describe(decoded->graph, decoded->root);
  EXPECT_EQ(before.root, after.root);
  ASSERT_EQ(before.steps.size(), after.steps.size());
  for (const auto& [identity, told] : before.steps) {
    auto found = after.steps.find(identity);
    if (found == after.steps.end()) {
      ADD_FAILURE() << "lost: " << told.begin()->first << "\n" << told.begin()->second;
      continue;
    }
    if (told.size() == 1) {
      EXPECT_EQ(told, found->second);
    }
  }
  EXPECT_TRUE(Serialise(Encode(decoded->graph, decoded->root)) == Serialise(definition));
}

// A reference that has a digest is pinned already.
class Images : public dockerfile::FakeImages {
  Result<dockerfile::ResolvedImage> Resolve(const std::string& reference, const oci::Platform& platform,
                                            graph::ResolveMode mode) override {
    auto image = FakeImages::Resolve(reference, platform, mode);
    if (image && reference.find('@') != std::string::npos) image->pinned_reference = reference;
    return image;
  }
};

// Of a text that lowers; false: it does not.
bool RoundTrip(const std::string& text, dockerfile::LowerOptions options = {}, const char* golden = nullptr) {
  auto file = dockerfile::ParseDockerfile(text);
  if (!file) return false;
  Images images;
  if (options.target_platform == oci::Platform()) options.target_platform = {.os = "linux", .architecture = "arm64"};
  options.build_platform = {.os = "linux", .architecture = "amd64"};
  options.entitlements = {"network.host", "security.insecure", "device"};
  auto lowered = dockerfile::Lower(*file, options, images);
  if (!lowered) return false;
  ExpectSame(lowered->graph, lowered->root);
  if (golden != nullptr) ExpectGolden(golden, Encode(lowered->graph, lowered->root));
  return true;
}

TEST(RoundTrip, EveryFileOfTheCorpusComesBack) {
  std::vector<std::string> files = CorpusFiles();
  if (files.empty()) GTEST_SKIP() << "no corpus in " << CorpusDirectory() << "; set VARVE_CORPUS";
  size_t lowered = 0;
  for (const std::string& name : files) {
    SCOPED_TRACE(name);
    auto text = ReadFile(CorpusDirectory() + "/" + name);
    ASSERT_TRUE(text.has_value());
    if (RoundTrip(*text)) ++lowered;
  }
  EXPECT_GT(lowered, 700u);
}

TEST(RoundTrip, EveryFlagOfRunComesBack) {
  dockerfile::LowerOptions options;
  options.shm_size = 1 << 20;
  options.hostname = "here";
  options.extra_hosts = {{"db", "10.0.0.1"}};
  options.ulimits = {{"nofile", 1024, 2048}};
  options.resources = {{"memory", "268435456"}, {"cpuset-cpus", "0-1"}};
  options.cgroup_parent = "builds.slice";
  options.build_args = {{"HTTP_PROXY", "http://proxy:3128"}, {"no_proxy", "localhost"}};
  options.no_cache = true;
  EXPECT_TRUE(RoundTrip(R"(FROM alpine AS base
RUN mkdir /x
FROM alpine
ARG A=1
USER node:staff
WORKDIR /app
RUN --mount=type=secret,id=a,env=A_SECRET --mount=type=secret,id=b,target=/b,env=B --mount=type=secret,id=c,required make
RUN --mount=type=cache,target=/c,uid=1000,gid=7,mode=0700,sharing=locked --mount=type=cache,target=/d,id=d make
RUN --mount=type=cache,target=/e,from=base,source=/x --mount=type=tmpfs,target=/t,size=1048576 make
RUN --mount=type=bind,target=/src,rw --mount=type=bind,from=base,source=/x,target=/x make
RUN --mount=type=ssh,id=key,required --mount=type=ssh,target=/agent make
RUN --network=host --security=insecure --device=vendor.com/gpu=0 make
RUN --network=none make
RUN <<EOF
#!/bin/sh
echo $A
EOF
)",
                        options, "run.llb"));
}

TEST(RoundTrip, EveryFormOfCopyAndAddComesBack) {
  EXPECT_TRUE(RoundTrip(R"(FROM scratch AS empty
FROM alpine
COPY --chown=node:0 --chmod=755 a b /dir/
COPY --chown=1000 --chmod=u=rwX,go=rX c*.txt /dir
COPY --link --chown=7:8 a /linked
COPY --parents --exclude=*.log x/./y/z /p/
COPY --parents x/*.c /p/
COPY --from=empty / /none
COPY --from=nginx:1 /etc /etc
COPY <<one <<two /docs/
first
one
second
two
ADD archive.tar /unpacked/
ADD --unpack=false archive.tar /kept/
ADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://example.com/f?x=1 /f
ADD --keep-git-dir=true https://example.com/r.git#main:sub /git
ADD git@example.com:org/r.git /ssh
ADD https://example.com/q.git?ref=v1&submodules=false&mtime=commit&fetch-by-commit=true&checksum=0123456789012345678901234567890123456789 /q
WORKDIR /made
)",
                        {}, "copy.llb"));
}

TEST(RoundTrip, AnEmptyResultIsAnEmptyDefinition) {
  EXPECT_EQ(Encode({}, {}).def_size(), 0);
  auto decoded = Decode({});
  ASSERT_TRUE(decoded.has_value());
  EXPECT_FALSE(decoded->root.has_value());
}

TEST(RoundTrip, EveryFieldThatOnlyLlbCanSayComesBack) {
  graph::Graph graph;
  auto add = [&](graph::Op op, std::vector<graph::Ref> inputs, const char* name) {
    graph::Step step{.op = std::move(op), .inputs = std::move(inputs), .platform = {"linux", "amd64"}, .name = name};
    step.text = name;
    return graph::Ref{graph.Add(std::move(step)), 0};
  };
  graph::Ref local = add(graph::LocalSource{.name = "src",
                                            .exclude = {"*.o"},
                                            .include = {"a/**"},
                                            .ignore_file = "i",
                                            .follow_paths = {"a"},
                                            .shared_key_hint = "h",
                                            .session = "s",
                                            .unique_id = "u",
                                            .compare_nothing = true},
                         {}, "local");
  graph::Ref http = add(graph::HttpSource{.url = "https://h/x",
                                          .filename = "x",
                                          .mode = 0755,
                                          .uid = 1,
                                          .gid = 2,
                                          .auth_header_secret = "S",
                                          .accept = "a",
                                          .user_agent = "u"},
                        {}, "http");
  graph::GitSource remote{.remote = "ssh://git@h/r.git", .ref = "v1"};
  remote.known_hosts = "h ssh-ed25519 AAAA\n";
  graph::Ref git = add(remote, {}, "git");
  graph::Ref image =
      add(graph::ImageSource{.reference = "docker.io/library/alpine:3", .resolve_mode = graph::ResolveMode::kPull}, {},
          "image");
  graph::Ref layout = add(
      graph::OciLayoutSource{.path = "store", .reference = "v1", .digest = Digest::Of("x"), .session = "s"}, {}, "oci");
  graph::Exec exec{.args = {"make"}};
  exec.valid_exit_codes = {0, 3};
  exec.mounts = {
      graph::Mount{.target = "/", .input = 0, .output = 0}, graph::Mount{.target = "/out", .input = 1, .output = 1},
      graph::Mount{.target = "/rw", .input = 2, .source = "sub"},
      graph::Mount{.target = "/file", .input = 3, .readonly = true}, graph::Mount{.target = "/scratch", .output = 2}};
  graph::Ref run = add(exec, {layout, image, git, http}, "run");
  graph::FileOp file{.base = 0};
  file.actions = {
      graph::Copy{.input = 1,
                  .from = {.path = "a", .include = {"*.c"}},
                  .dest = "/d",
                  .owner = {"node", "", 2},
                  .contents_only = false,
                  .create_dest_path = false,
                  .replace = true,
                  .required = {"/a/b"},
                  .timestamp = Timestamp{0}},
      graph::MakeFile{
          .path = "/f", .data = std::string("\0x", 2), .mode = 0600, .owner = {"0", "0"}, .timestamp = Timestamp{5}},
      graph::MakeDirectory{.path = "/m", .make_parents = false, .timestamp = Timestamp{6}},
      graph::MakeSymlink{.target = "f", .path = "/l", .timestamp = Timestamp{7}},
      graph::Remove{.path = "/r*", .allow_wildcard = true, .allow_not_found = true}};
  graph::Ref files = add(file, {{run.step, 1}, local, {run.step, 2}}, "files");
  graph::Ref merged = add(graph::Merge{}, {run, files}, "merge");
  graph::Ref diff = add(graph::Diff{}, {run, merged}, "diff");
  ExpectSame(graph, diff);
  ExpectGolden("fields.llb", Encode(graph, diff));
  ExpectSame(graph, graph::Ref{run.step, 2});
}

TEST(RoundTrip, EqualGraphsGiveEqualBytes) {
  auto once = [] {
    auto file = dockerfile::ParseDockerfile("FROM alpine\nCOPY a b c /d/\nRUN --mount=type=secret,id=x make\n");
    dockerfile::FakeImages images;
    dockerfile::LowerOptions options;
    auto lowered = dockerfile::Lower(*file, options, images);
    return Serialise(Encode(lowered->graph, lowered->root));
  };
  EXPECT_EQ(once(), once());
}

}  // namespace
}  // namespace varve::llb
