#include "daemon/frontend_image.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "base/log.h"
#include "base/strings.h"
#include "daemon/stdio_server.h"
#include "llb/definition.h"

namespace varve::daemon {

namespace {

// Of what a front end writes to its standard error, for the message when it fails.
constexpr size_t kLastWords = 2048;

std::set<std::string> CapabilitiesIn(const std::string& list) {
  std::set<std::string> names;
  for (const std::string& entry : Split(list, ',')) {
    // "…+forward": who asks may go without it.
    std::string name(TrimSpace(entry.substr(0, entry.find('+'))));
    if (!name.empty()) names.insert(std::move(name));
  }
  return names;
}

// As Go's encoding/json writes client.WorkerInfo.
std::string WorkersJson(const WorkerFacts& facts) {
  moby::buildkit::v1::types::WorkerRecord record;
  FillWorker(facts, record);
  Json labels = Json::EmptyObject(), platforms = Json::EmptyArray(), policies = Json::EmptyArray();
  for (const auto& [name, value] : std::map(record.labels().begin(), record.labels().end())) labels.Set(name, value);
  for (const pb::Platform& platform : record.platforms()) platforms.Append(oci::ToJson(llb::PlatformOf(platform)));
  for (const auto& policy : record.gc_policy()) {
    policies.Append(Json()
                        .Set("all", policy.all())
                        .Set("filter", Json::Strings({policy.filters().begin(), policy.filters().end()}))
                        .Set("keepDuration", policy.keep_duration())
                        .Set("reservedSpace", policy.reserved_space())
                        .Set("maxUsedSpace", policy.max_used_space())
                        .Set("minFreeSpace", policy.min_free_space()));
  }
  const auto& version = record.buildkit_version();
  Json worker = Json()
                    .Set("id", record.id())
                    .Set("labels", std::move(labels))
                    .Set("platforms", std::move(platforms))
                    .Set("gcPolicy", std::move(policies))
                    .Set("buildkitVersion", Json()
                                                .Set("package", version.package())
                                                .Set("version", version.version())
                                                .Set("revision", version.revision()))
                    .Set("cdiDevices", Json::EmptyArray());
  Json workers = Json::EmptyArray();
  workers.Append(std::move(worker));
  return workers.Dump();
}

// Reads to the end what the program writes to its standard error: lines for the log, the last of it for a message.
std::string ReadLastWords(int fd, const std::string& name) {
  std::string kept;
  char buffer[4096];
  for (;;) {
    const ssize_t n = read(fd, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    const std::string_view text(buffer, static_cast<size_t>(n));
    LOG_DEBUG("{}: {}", name, TrimSpace(text));
    kept += text;
    if (kept.size() > 2 * kLastWords) kept.erase(0, kept.size() - kLastWords);
  }
  if (kept.size() > kLastWords) kept.erase(0, kept.find('\n', kept.size() - kLastWords) + 1);
  return std::string(TrimSpace(kept));
}

Error EndOf(const std::string& name, const Result<sandbox::Outcome>& outcome, const std::string& last_words) {
  Error error = outcome ? MakeError(Code::kExec, "the front end {} did not complete successfully: exit code: {}", name,
                                    outcome->exit_code)
                        : outcome.error();
  if (!outcome && error.code != Code::kCancelled)
    error.message = fmt::format("the front end {}: {}", name, error.message);
  if (!last_words.empty()) error.message += "\n" + last_words;
  return error;
}

}  // namespace

FrontendImage FrontendImageOf(const oci::ImageConfig& config) {
  FrontendImage image{.args = config.entrypoint().value_or(std::vector<std::string>()),
                      .env = config.env(),
                      .cwd = config.working_dir(),
                      .capabilities = {}};
  if (image.args.empty()) image.args = {"/run"};
  if (image.cwd.empty()) image.cwd = "/";
  image.no_network = ParseBool(config.GetLabel("moby.buildkit.frontend.network.none").value_or("")).value_or(false);
  image.capabilities = CapabilitiesIn(config.GetLabel("moby.buildkit.frontend.caps").value_or(""));
  return image;
}

std::optional<Failure> CheckCapabilities(const FrontendImage& image, const Attributes& attributes, bool has_inputs) {
  auto asked = attributes.find("frontend.caps");
  std::set<std::string> wanted = CapabilitiesIn(asked == attributes.end() ? "" : asked->second);
  if (has_inputs) wanted.insert("moby.buildkit.frontend.inputs");
  for (const std::string& name : wanted) {
    if (image.capabilities.contains(name)) continue;
    return Failure{.error = Invalid("unsupported frontend capability {}", name), .capability = name};
  }
  return std::nullopt;
}

std::vector<std::string> EnvironmentOf(const FrontendImage& image, const Attributes& attributes,
                                       const std::string& session, const WorkerFacts& worker) {
  std::vector<std::string> env = image.env;
  size_t number = 0;
  for (const auto& [key, value] : attributes) {
    env.push_back(fmt::format("BUILDKIT_FRONTEND_OPT_{}={}={}", number++, key, value));
  }
  env.push_back("BUILDKIT_SESSION_ID=" + session);
  env.push_back("BUILDKIT_WORKERS=" + WorkersJson(worker));
  env.push_back("BUILDKIT_EXPORTEDPRODUCT=");
  return env;
}

std::optional<Failure> RunFrontend(const FrontendCall& call, const RunProgram& run, gateway::Result& result) {
  Guarded<std::optional<gateway::ReturnRequest>> returned;
  FrontendContainers containers;
  const BridgeCaller caller{call.job, containers, call.inputs,
                            [&](const gateway::ReturnRequest& request) {
                              auto first = returned.Lock();
                              if (!*first) *first = request;
                            },
                            &call.asked};
  BridgeService bridge([&](grpc::ServerContext&, const UseCaller& use) { return use(caller); }, call.worker);
  sandbox::Streams streams;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Failure{ErrnoError(errno, "make a pipe")};
  Fd errors(ends[0]);
  streams.err = Fd(ends[1]);
  auto server = StdioServer::Start(bridge, call.message_bytes, streams);
  if (!server) return Failure{server.error()};
  std::string last_words;
  std::jthread reader([&] { last_words = ReadLastWords(errors.get(), call.name); });
  auto outcome = run(std::move(streams));
  streams = {};
  reader.join();
  server->reset();
  containers.ReleaseAll();

  auto answer = returned.Lock();
  if (*answer && (*answer)->error().code() != 0) return Failure{.error = {}, .status = (*answer)->error()};
  if (!outcome || outcome->exit_code != 0) return Failure{EndOf(call.name, outcome, last_words)};
  if (!*answer) {
    return Failure{
        Invalid("the front end {} ended without a result{}{}", call.name, last_words.empty() ? "" : ":\n", last_words)};
  }
  result = (*answer)->result();
  return std::nullopt;
}

}  // namespace varve::daemon
