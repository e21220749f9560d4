// Definitions as clients send them, right and wrong.
#include "llb/decode_test.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "graph/reads.h"
#include "llb/capabilities.h"

namespace varve::llb {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Bytes that BuildKit's own client makes for
//   llb.Image("busybox").Run(llb.Shlex("true"))  without a platform, written down from the field numbers of
// solver/pb/ops.proto by hand: tag = number << 3 | wire type.
TEST_F(Llb, BytesOfAClientAreUnderstood) {
  std::string full = std::string("\x1a\x31\x0a\x2f", 4) + "docker-image://docker.io/library/busybox:latest";
  ASSERT_EQ(full.size(), 4u + 0x2f);
  std::string digest = Digest::Of(full).ToString();
  ASSERT_EQ(digest.size(), 71u);
  std::string input = std::string("\x0a\x49\x0a\x47", 4) + digest;               // inputs(1){digest(1)}
  std::string meta = std::string("\x0a\x09\x0a\x04", 4) + "true" + "\x1a\x01/";  // meta(1){args(1), cwd(3)}
  std::string mount = std::string("\x12\x03\x1a\x01/", 5);                       // mounts(2){dest(3)}
  std::string exec = input + std::string("\x12\x10", 2) + meta + mount;          // exec(2)
  std::string run = Digest::Of(exec).ToString();
  definition.add_def(full);
  definition.add_def(exec);
  definition.add_def(std::string("\x0a\x49\x0a\x47", 4) + run);
  auto decoded = Decode(definition);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  ASSERT_EQ(decoded->graph.steps.size(), 2u);
  EXPECT_EQ(std::get<graph::ImageSource>(decoded->graph.steps[0].op).reference, "docker.io/library/busybox:latest");
  EXPECT_THAT(std::get<graph::Exec>(decoded->graph.steps[1].op).args, ElementsAre("true"));
  EXPECT_EQ(decoded->graph.steps[1].name, "true");
  EXPECT_EQ(decoded->vertices[1].digest.ToString(), run);
  EXPECT_THAT(decoded->vertices[1].inputs, ElementsAre(Digest::Of(full)));
  // The same bytes come out of the encoder's serialiser.
  pb::Op op;
  ASSERT_TRUE(op.ParseFromString(exec));
  EXPECT_EQ(Serialise(op), exec);
}

// --- Definitions -----------------------------------------------------------------------------------------

TEST_F(Llb, TheOrderOfTheOpsDoesNotMatter) {
  pb::Op exec = Exec();
  std::string run = Add(exec);
  std::swap(*definition.mutable_def(0), *definition.mutable_def(1));
  auto decoded = Result_(run);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  EXPECT_EQ(decoded->root->step, 1u);
}

TEST_F(Llb, OpsThatTheResultDoesNotNeedAreNotLookedInto) {
  AddSource("nonsense://x");
  EXPECT_TRUE(Result_(AddSource("local://src")).has_value());
}

TEST_F(Llb, AMissingInputIsNamed) {
  EXPECT_EQ(ErrorOf(kDigest), std::string("invalid missing input digest ") + kDigest);
  EXPECT_THAT(ErrorOf("sha256:../../etc"), HasSubstr("invalid missing input digest"));
}

TEST_F(Llb, AnOutputThatNobodyGivesIsRefused) {
  EXPECT_THAT(ErrorOf(AddSource("local://src"), 1), HasSubstr("output 1 of Op"));
  definition.Clear();
  EXPECT_THAT(ErrorOf(AddSource("local://src"), -1), HasSubstr("output -1 of Op"));
}

TEST_F(Llb, TheLastOpNamesOneResult) {
  AddSource("local://src");
  EXPECT_THAT(Decode(definition).error().message, HasSubstr("has no input"));
  pb::Op two;
  Use(two, kDigest);
  Use(two, kDigest, 1);
  Add(two);
  EXPECT_THAT(Decode(definition).error().message, HasSubstr("2 inputs, not one"));
}

TEST_F(Llb, TextThatIsNoOpIsRefused) {
  definition.add_def("\xff\xff");
  EXPECT_THAT(Decode(definition).error().message, HasSubstr("Op 1 of the definition cannot be read"));
}

TEST_F(Llb, AnOpWithoutOperationIsRefused) {
  pb::Op none;
  none.mutable_platform()->set_os("linux");
  EXPECT_THAT(ErrorOf(Add(none)), HasSubstr("it has no operation"));
}

TEST_F(Llb, FieldsOfANewerProtocolAreRefusedByTheirNumber) {
  pb::Op op = Exec();
  std::string text = Serialise(op) + std::string("\xa2\x06\x00", 3);  // field 100, empty
  definition.add_def(text);
  EXPECT_THAT(ErrorOf(Digest::Of(text).ToString()), HasSubstr("field 100 of pb.Op"));
}

TEST_F(Llb, TooManyOpsAreRefusedBeforeAnyIsRead) {
  for (size_t i = 0; i <= kMaxOps; ++i) definition.add_def("");
  EXPECT_THAT(Decode(definition).error().message, HasSubstr("more than 100000"));
}

TEST_F(Llb, TooDeepADefinitionIsRefusedWithoutRecursion) {
  std::string below = AddSource("local://src");
  for (size_t i = 0; i <= kMaxDepth; ++i) {
    pb::Op op;
    Use(op, below);
    pb::FileAction* action = op.mutable_file()->add_actions();
    action->set_secondary_input(-1);
    action->mutable_mkdir()->set_path("/d");
    below = Add(op);
  }
  EXPECT_THAT(ErrorOf(below), HasSubstr("more than 10000 Ops deep"));
}

TEST_F(Llb, MetadataNamesStepsAndSaysWhatIsNotToBeCached) {
  std::string run = Add(Exec());
  pb::OpMetadata& metadata = (*definition.mutable_metadata())[run];
  metadata.set_ignore_cache(true);
  (*metadata.mutable_description())["llb.customname"] = "[2/2] RUN make all";
  (*metadata.mutable_description())["com.example"] = "kept";
  metadata.mutable_progress_group()->set_id("g");
  metadata.mutable_progress_group()->set_weak(true);
  metadata.mutable_export_cache()->set_value(false);
  metadata.mutable_linux_resources()->set_memory(1 << 30);
  pb::Source* source = definition.mutable_source();
  source->add_infos()->set_filename("Dockerfile.dev");
  pb::Range* range = (*source->mutable_locations())[run].add_locations()->add_ranges();
  range->mutable_start()->set_line(4);
  range->mutable_end()->set_line(6);
  auto decoded = Result_(run);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  const graph::Step& step = decoded->graph.at(*decoded->root);
  EXPECT_EQ(step.name, "[2/2] RUN make all");
  EXPECT_TRUE(step.no_cache);
  EXPECT_EQ(step.location.file, "Dockerfile.dev");
  EXPECT_EQ(step.location.first_line, 4u);
  EXPECT_EQ(step.location.last_line, 6u);
  EXPECT_EQ(std::get<graph::Exec>(step.op).resources.at("memory"), "1073741824");
  const Vertex& vertex = decoded->vertices[decoded->vertex_of[decoded->root->step]];
  EXPECT_TRUE(vertex.progress_group->weak);
  EXPECT_EQ(vertex.export_cache, false);
  EXPECT_EQ(vertex.description.at("com.example"), "kept");
}

TEST_F(Llb, WhatAnOpAsksForMustBeThere) {
  std::string run = Add(Exec());
  auto& caps = *(*definition.mutable_metadata())[run].mutable_caps();
  caps["exec.meta.base"] = true;
  caps["source.git.signatureverify"] = false;
  EXPECT_TRUE(Result_(run).has_value());
  caps["source.git.signatureverify"] = true;
  EXPECT_THAT(ErrorOf(run), HasSubstr("requested feature source.git.signatureverify is not supported by this builder"));
  caps.erase("source.git.signatureverify");
  caps["exec.teleport"] = true;
  EXPECT_THAT(ErrorOf(run), HasSubstr("unknown API capability exec.teleport"));
}

TEST_F(Llb, NamesAreWhatAnOpDoes) {
  pb::Op file;
  Use(file, AddSource("local://src"));
  file.mutable_file()->add_actions()->mutable_mkdir()->set_path("/a");
  pb::FileAction* copy = file.mutable_file()->add_actions();
  copy->set_input(1);
  copy->set_secondary_input(0);
  copy->mutable_copy()->set_src("/b");
  copy->mutable_copy()->set_dest("/c");
  file.mutable_file()->mutable_actions(0)->set_output(-1);
  file.mutable_file()->mutable_actions(0)->set_secondary_input(-1);
  pb::Op merge;
  std::string files = Add(file), source = AddSource("local://src");
  Use(merge, files);
  Use(merge, source);
  merge.mutable_merge()->add_inputs();
  merge.mutable_merge()->add_inputs()->set_input(1);
  auto decoded = Result_(Add(merge));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  EXPECT_EQ(decoded->graph.at(*decoded->root).name, "merge (mkdir /a, copy /b /c, local://src)");
}

// --- Sources ---------------------------------------------------------------------------------------------

TEST_F(Llb, ImageSourceIsHeldAgainstItsChecksum) {
  auto image = SourceOf<graph::ImageSource>(
      "docker-image://docker.io/library/alpine:3",
      {{"image.checksum", kDigest}, {"image.resolvemode", "pull"}, {"image.recordtype", "internal"}});
  EXPECT_EQ(image.reference, "docker.io/library/alpine:3");
  EXPECT_EQ(image.checksum->ToString(), kDigest);
  EXPECT_EQ(image.resolve_mode, graph::ResolveMode::kPull);
  const std::string pinned = std::string("docker.io/library/alpine:3@") + kDigest;
  image = SourceOf<graph::ImageSource>("docker-image://" + pinned,
                                       {{"image.checksum", kDigest}, {"image.layerlimit", "2"}});
  EXPECT_EQ(image.reference, pinned);
  EXPECT_FALSE(image.checksum);
  EXPECT_EQ(image.layer_limit, 2u);
}

TEST_F(Llb, LocalSourceCarriesHowToTransferIt) {
  auto local = SourceOf<graph::LocalSource>("local://context", {{"local.session", "s1"},
                                                                {"local.includepattern", R"(["a","b/**"])"},
                                                                {"local.excludepatterns", R"(["*.o"])"},
                                                                {"local.followpaths", R"(["Dockerfile"])"},
                                                                {"local.sharedkeyhint", "hint"},
                                                                {"local.differ", "none"},
                                                                {"local.unique", "u"}});
  EXPECT_EQ(local.name, "context");
  EXPECT_EQ(local.session, "s1");
  EXPECT_THAT(local.include, ElementsAre("a", "b/**"));
  EXPECT_THAT(local.exclude, ElementsAre("*.o"));
  EXPECT_THAT(local.follow_paths, ElementsAre("Dockerfile"));
  EXPECT_EQ(local.shared_key_hint, "hint");
  EXPECT_TRUE(local.compare_nothing);
}

TEST_F(Llb, ADirectoryThatIsAResultOrWrittenOnBecomesLayersFirst) {
  std::string local = AddSource("local://src");
  pb::Op file;
  Use(file, local);
  file.mutable_file()->add_actions()->mutable_mkdir()->set_path("/d");
  pb::Op merge;
  std::string made = Add(file);
  Use(merge, local);
  Use(merge, made);
  merge.mutable_merge()->add_inputs();
  merge.mutable_merge()->add_inputs()->set_input(1);
  auto decoded = Result_(Add(merge));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  ASSERT_EQ(decoded->graph.steps.size(), 4u);  // once, for both
  EXPECT_EQ(decoded->graph.steps[1].name, "[internal] local://src");
  EXPECT_THAT(decoded->graph.at(*decoded->root).inputs, ElementsAre(graph::Ref{1, 0}, graph::Ref{2, 0}));
  definition.Clear();
  decoded = Result_(AddSource("local://src"));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  EXPECT_TRUE(std::holds_alternative<graph::FileOp>(decoded->graph.at(*decoded->root).op));
}

TEST_F(Llb, ASessionsPrefixGoesIntoTheName) {
  auto local = SourceOf<graph::LocalSource>("local://context", {{"local.session", "bake:s1"}});
  EXPECT_EQ(local.name, "bake-context");
  EXPECT_EQ(local.session, "s1");
}

TEST_F(Llb, GitSourceIsReadFromTheIdentifierAndFromTheFullUrl) {
  auto git = SourceOf<graph::GitSource>("git://example.com/org/repo.git#v1:sub/dir");
  EXPECT_EQ(git.remote, "https://example.com/org/repo.git");
  EXPECT_EQ(git.ref, "v1");
  EXPECT_EQ(git.subdir, "sub/dir");
  EXPECT_TRUE(git.submodules);
  EXPECT_EQ(git.auth_token_secret, "");
  definition.Clear();
  git =
      SourceOf<graph::GitSource>("git://example.com/org/repo.git#v1", {{"git.fullurl", "git@example.com:org/repo.git"},
                                                                       {"git.keepgitdir", "true"},
                                                                       {"git.skipsubmodules", "true"},
                                                                       {"git.mountsshsock", "key"},
                                                                       {"git.knownsshhosts", "example.com x"}});
  EXPECT_EQ(git.remote, "git@example.com:org/repo.git");
  EXPECT_TRUE(git.keep_git_dir);
  EXPECT_FALSE(git.submodules);
  EXPECT_EQ(git.ssh_id, "key");
  EXPECT_EQ(git.known_hosts, "example.com x");
}

TEST_F(Llb, HttpSourceTakesNumbersAsGoReadsThem) {
  auto http = SourceOf<graph::HttpSource>("https://example.com/f?x=1", {{"http.perm", "0755"},
                                                                        {"http.uid", "0x10"},
                                                                        {"http.gid", "9"},
                                                                        {"http.filename", "g"},
                                                                        {"http.checksum", kDigest},
                                                                        {"http.header.accept", "text/plain"}});
  EXPECT_EQ(http.url, "https://example.com/f?x=1");
  EXPECT_EQ(http.mode, 0755u);
  EXPECT_EQ(http.uid, 16u);
  EXPECT_EQ(http.gid, 9u);
  EXPECT_EQ(http.filename, "g");
  EXPECT_EQ(http.accept, "text/plain");
}

TEST_F(Llb, LayoutSourceNamesItsContentStore) {
  auto layout = SourceOf<graph::OciLayoutSource>(std::string("oci-layout://example.com/x:v1@") + kDigest,
                                                 {{"oci.store", "st"}, {"oci.session", "s"}});
  EXPECT_EQ(layout.path, "st");
  EXPECT_EQ(layout.reference, "v1");
  EXPECT_EQ(layout.digest->ToString(), kDigest);
  EXPECT_EQ(layout.session, "s");
}

TEST_F(Llb, SourcesThatAskForTooMuchAreRefusedByTheirAttribute) {
  EXPECT_THAT(SourceError("docker-image://alpine", {{"image.layerlimit", "0"}}), HasSubstr("invalid layer limit 0"));
  EXPECT_THAT(SourceError("local://x", {{"local.metadatatransfer", "true"}}),
              HasSubstr("attribute local.metadatatransfer"));
  EXPECT_THAT(SourceError("local://x", {{"local.includepattern", "[1]"}}),
              HasSubstr("local.includepattern is no JSON list"));
  EXPECT_THAT(SourceError("git://h/r.git", {{"git.sig.pubkey", "x"}}), HasSubstr("attribute git.sig.pubkey"));
  EXPECT_THAT(SourceError("https://h/x", {{"http.sig.pubkey", "x"}}), HasSubstr("attribute http.sig.pubkey"));
  EXPECT_THAT(SourceError("https://h/x", {{"http.header.accept", "a\r\nX: y"}}), HasSubstr("control character"));
  EXPECT_THAT(SourceError("https://h/x", {{"http.filename", "../x"}}), HasSubstr("no name of a file"));
  EXPECT_THAT(SourceError("docker-image+blob://x"), HasSubstr("is not named by its digest"));
  EXPECT_THAT(SourceError(std::string("oci-layout+blob://x@") + kDigest), HasSubstr("names no content store"));
  EXPECT_THAT(SourceError("floppy://x"), HasSubstr("floppy:// are not supported"));
  EXPECT_THAT(SourceError("nothing"), HasSubstr("has no scheme"));
  EXPECT_THAT(SourceError("git://h/r.git", {{"git.fullurl", "ext::sh -c id"}}), HasSubstr("LLB Op sha256:"));
  EXPECT_THAT(SourceError("git://h/r.git#--upload-pack=x"), HasSubstr("LLB Op sha256:"));
  EXPECT_THAT(SourceError("docker-image://UPPER"), HasSubstr("lowercase"));
}

// --- ExecOp ----------------------------------------------------------------------------------------------

TEST_F(Llb, ExecHasWhatItsMetaSays) {
  pb::Op op = Exec([](pb::ExecOp& exec) {
    pb::Meta* meta = exec.mutable_meta();
    meta->add_env("A=1");
    meta->set_user("node");
    meta->set_hostname("h");
    meta->set_cgroup_parent("/p");
    meta->mutable_proxy_env()->set_http_proxy("http://p");
    meta->add_extra_hosts()->set_host("db");
    meta->mutable_extra_hosts(0)->set_ip("10.0.0.1");
    meta->add_ulimit()->set_name("nofile");
    meta->add_valid_exit_codes(3);
    exec.set_network(pb::NONE);
    exec.set_security(pb::INSECURE);
    exec.add_cdi_devices()->set_name("vendor.com/gpu=0");
  });
  auto decoded = Result_(Add(op));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  const auto& exec = std::get<graph::Exec>(decoded->graph.at(*decoded->root).op);
  EXPECT_THAT(exec.args, ElementsAre("make", "all"));
  EXPECT_THAT(exec.env, ElementsAre("A=1"));
  EXPECT_EQ(exec.cwd, "/app");
  EXPECT_EQ(exec.user, "node");
  EXPECT_THAT(exec.proxy_env, ElementsAre("HTTP_PROXY=http://p", "http_proxy=http://p"));
  EXPECT_THAT(exec.valid_exit_codes, ElementsAre(3));
  EXPECT_EQ(exec.network, graph::NetworkMode::kNone);
  EXPECT_TRUE(exec.devices.at(0).required);
  EXPECT_EQ(exec.mounts.at(0).output, 0);
}

TEST_F(Llb, MountsGiveOutputsOfTheirOwn) {
  pb::Op op = Exec([](pb::ExecOp& exec) {
    exec.mutable_mounts(0)->set_output(-1);
    pb::Mount* out = exec.add_mounts();
    out->set_dest("out");  // below the working directory
    out->set_input(-1);
    out->set_output(0);
    pb::Mount* shown = exec.add_mounts();
    shown->set_dest("/shown");
    shown->set_readonly(true);
    shown->set_output(1);
  });
  std::string run = Add(op);
  auto decoded = Result_(run);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  const auto& exec = std::get<graph::Exec>(decoded->graph.at(*decoded->root).op);
  EXPECT_EQ(exec.mounts.at(1).target, "/app/out");
  EXPECT_EQ(exec.mounts.at(1).output, 0);
  definition.mutable_def()->RemoveLast();
  // What cannot be written to is the input itself.
  decoded = Result_(run, 1);
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  EXPECT_TRUE(std::holds_alternative<graph::ImageSource>(decoded->graph.at(*decoded->root).op));
}

TEST_F(Llb, ReadsOfAnInputThatIsAlsoWrittenOnAreContent) {
  pb::Op op = Exec([](pb::ExecOp& exec) {
    pb::Mount* again = exec.add_mounts();
    again->set_dest("/again");
    again->set_selector("/etc");
    again->set_output(-1);
  });
  auto decoded = Result_(Add(op));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  auto uses = graph::InputUses(decoded->graph.at(*decoded->root));
  ASSERT_EQ(uses.size(), 2u);
  EXPECT_TRUE(uses[0].lineage);
  EXPECT_FALSE(uses[1].lineage);
  EXPECT_EQ(uses[1].selectors.at(0).path, "etc");
}

TEST_F(Llb, SecretsSshAndCacheMountsAreNoOutputsWhateverTheirOutputSays) {
  pb::Op op = Exec([](pb::ExecOp& exec) {
    pb::Mount* secret = exec.add_mounts();
    secret->set_input(-1);
    secret->set_dest("/run/secrets/s");
    secret->set_mount_type(pb::SECRET);
    secret->mutable_secret_opt()->set_id("s");
    secret->mutable_secret_opt()->set_mode(0400);
    pb::Mount* ssh = exec.add_mounts();
    ssh->set_input(-1);
    ssh->set_dest("/run/buildkit/ssh_agent.0");
    ssh->set_mount_type(pb::SSH);
    ssh->mutable_ssh_opt()->set_optional(true);
    exec.mutable_meta()->add_env("SSH_AUTH_SOCK=/run/buildkit/ssh_agent.0");
    pb::Mount* cache = exec.add_mounts();
    cache->set_input(-1);
    cache->set_dest("/root/.cache");
    cache->set_mount_type(pb::CACHE);
    cache->set_output(-1);
    pb::SecretEnv* env = exec.add_secret_env();
    env->set_id("s");
    env->set_name("S");
  });
  auto decoded = Result_(Add(op));
  ASSERT_TRUE(decoded.has_value()) << decoded.error().ToString();
  const auto& exec = std::get<graph::Exec>(decoded->graph.at(*decoded->root).op);
  ASSERT_EQ(exec.mounts.size(), 4u);
  EXPECT_EQ(exec.mounts[1].env_name, "S");
  EXPECT_TRUE(exec.mounts[1].required);
  EXPECT_EQ(exec.mounts[2].secret_id, "default");
  EXPECT_FALSE(exec.mounts[2].required);
  EXPECT_TRUE(exec.env.empty());
  EXPECT_EQ(exec.mounts[3].cache_id, "/root/.cache");
}

TEST_F(Llb, MalformedExecsAreRefused) {
  auto error = [&](const std::function<void(pb::ExecOp&)>& change) {
    definition.Clear();
    return ErrorOf(Add(Exec(change)));
  };
  EXPECT_THAT(error([](auto& exec) { exec.mutable_meta()->clear_args(); }), HasSubstr("no args"));
  EXPECT_THAT(error([](auto& exec) { exec.clear_mounts(); }), HasSubstr("no mounts"));
  EXPECT_THAT(error([](auto& exec) { exec.mutable_mounts(0)->set_dest("/x"); }), HasSubstr("0 mounts at /"));
  EXPECT_THAT(error([](auto& exec) { exec.mutable_mounts(0)->set_input(7); }), HasSubstr("Mount.input names input 7"));
  EXPECT_THAT(error([](auto& exec) { exec.mutable_mounts(0)->set_input(-2); }),
              HasSubstr("Mount.input names input -2"));
  EXPECT_THAT(error([](auto& exec) { exec.mutable_mounts(0)->set_output(1'000'000'000); }),
              HasSubstr("Mount.output is 1000000000"));
  EXPECT_THAT(error([](auto& exec) { *exec.add_mounts() = exec.mounts(0); }), HasSubstr("output 0 is given twice"));
  EXPECT_THAT(error([](auto& exec) { exec.set_network(static_cast<pb::NetMode>(9)); }),
              HasSubstr("invalid network mode 9"));
  EXPECT_THAT(error([](auto& exec) { exec.mutable_mounts(0)->set_result_id("r"); }), HasSubstr("Mount.result_id"));
  EXPECT_THAT(error([](auto& exec) { exec.mutable_meta()->add_valid_exit_codes(256); }),
              HasSubstr("valid_exit_codes has 256"));
}

// --- Entitlements and capabilities -----------------------------------------------------------------------------

TEST_F(Llb, WhatWasNotGrantedIsNotAllowed) {
  auto decoded = Result_(Add(Exec([](pb::ExecOp& exec) {
    exec.set_network(pb::HOST);
    exec.set_security(pb::INSECURE);
  })));
  EXPECT_EQ(CheckEntitlements(decoded->graph, {}).error().message, "network.host is not allowed");
  EXPECT_EQ(CheckEntitlements(decoded->graph, {"network.host"}).error().message, "security.insecure is not allowed");
  EXPECT_TRUE(CheckEntitlements(decoded->graph, {"network.host", "security.insecure"}).has_value());
}

TEST(Capabilities, AreTheOnesThatClientsKnow) {
  // Reference daemon-api.md §3.1.
  EXPECT_EQ(LlbCapabilities().size(), 90u);
  EXPECT_EQ(FrontendCapabilities().size(), 27u);
  for (auto list : {LlbCapabilities(), FrontendCapabilities()}) {
    for (const Capability& cap : list) {
      EXPECT_EQ(std::ranges::count(list, cap.id, &Capability::id), 1) << cap.id;
    }
  }
}

}  // namespace
}  // namespace varve::llb
