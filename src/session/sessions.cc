#include "session/sessions.h"

#include <optional>
#include <vector>

#include "base/log.h"
#include "base/strings.h"
#include "session/byte_pipe.h"

namespace varve::session {
namespace {

using moby::buildkit::v1::BytesMessage;

constexpr std::string_view kUuid = "x-docker-expose-session-uuid";
constexpr std::string_view kName = "x-docker-expose-session-name";
constexpr std::string_view kSharedKey = "x-docker-expose-session-sharedkey";
constexpr std::string_view kMethod = "x-docker-expose-session-grpc-method";
constexpr std::string_view kHealth = "x-buildkit-session-health-custom-timeout";
constexpr size_t kMaxHeader = 4096;
constexpr size_t kMaxMethods = 256;

Result<Headers> ReadHeaders(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata) {
  Headers headers;
  for (const auto& [name_ref, value_ref] : metadata) {
    const std::string_view name(name_ref.data(), name_ref.size());
    const std::string_view value(value_ref.data(), value_ref.size());
    if (!name.starts_with("x-docker-expose-session-") && name != kHealth) continue;
    if (value.size() > kMaxHeader) return Invalid("{} of the session is too long", name);
    if (name == kUuid) headers.id = value;
    if (name == kName) headers.name = value;
    if (name == kSharedKey) headers.shared_key = value;
    if (name == kMethod) headers.methods.insert(ToLower(value));
    if (name == kHealth) headers.health_milliseconds = static_cast<int>(ParseInt(value).value_or(0));
  }
  if (headers.id.empty()) return Invalid("the session has no id: {} is missing", kUuid);
  if (headers.methods.size() > kMaxMethods) return Invalid("the session offers too many methods");
  return headers;
}

class ServerBytes final : public MessageBytes<BytesMessage, Sessions::Stream> {
 public:
  ServerBytes(grpc::ServerContext& context, Sessions::Stream& stream) : MessageBytes(stream), context_(context) {}
  void Cancel() override { context_.TryCancel(); }

 private:
  grpc::ServerContext& context_;
};

// "prefix:id": the prefix tells sources of one session apart and is no part of its name.
std::string WithoutPrefix(const std::string& id) {
  const size_t colon = id.find(':');
  return colon == std::string::npos || colon + 1 == id.size() ? id : id.substr(colon + 1);
}

}  // namespace

Sessions::Sessions(SessionLimits limits)
    : limits_(limits), health_({limits.health_interval, limits.health_timeout, limits.health_failures}) {}

Sessions::~Sessions() {
  Close("the daemon is going down");
  auto state = state_.Lock();
  state.Wait(changed_, [&] { return state->serving == 0; });
  // health_ ends its thread after this.
}

grpc::Status Sessions::Serve(grpc::ServerContext& context, Stream& stream) {
  auto headers = ReadHeaders(context.client_metadata());
  if (!headers) return {grpc::StatusCode::INVALID_ARGUMENT, headers.error().message};
  auto pipe = BytePipe::Make(limits_.message_bytes);
  if (!pipe) return {grpc::StatusCode::RESOURCE_EXHAUSTED, pipe.error().message};

  const std::string id = headers->id;
  auto session = std::make_shared<Session>(std::move(*headers), pipe->channel());
  {
    auto state = state_.Lock();
    if (!state->closing.empty()) return {grpc::StatusCode::UNAVAILABLE, state->closing};
    if (state->sessions.size() >= limits_.sessions) {
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, fmt::format("there are {} sessions already", limits_.sessions)};
    }
    if (!state->sessions.try_emplace(id, session).second) {
      return {grpc::StatusCode::ALREADY_EXISTS, fmt::format("session {} is open already", id)};
    }
    ++state->serving;
  }
  changed_.notify_all();
  health_.Watch(session);
  LOG_DEBUG("session {} of {} begins", id, session->name());

  {
    ServerBytes bytes(context, stream);
    const std::stop_callback on_end(session->ended(), [&] {
      pipe->Close();
      bytes.Cancel();
    });
    pipe->Run(bytes);
  }
  session->End("the client has left");
  LOG_DEBUG("session {} ends: {}", id, session->Why());
  {
    auto state = state_.Lock();
    state->sessions.erase(id);
    --state->serving;
    changed_.notify_all();  // under the lock: the destructor may return as soon as it sees the count
  }
  return grpc::Status::OK;
}

Result<std::shared_ptr<Session>> Sessions::Find(const std::string& id, std::stop_token stop) {
  const std::string name = WithoutPrefix(id);
  if (name.empty()) return NotFound("the build has no session");
  const std::stop_callback wake(stop, [this] {
    state_.Lock();  // so that the waiter is either before its check or asleep
    changed_.notify_all();
  });
  auto state = state_.Lock();
  std::shared_ptr<Session> found;
  state.WaitFor(changed_, limits_.wait, [&] {
    const auto at = state->sessions.find(name);
    if (at != state->sessions.end()) found = at->second;
    return found || stop.stop_requested() || !state->closing.empty();
  });
  if (found) return found;
  if (stop.stop_requested()) return Cancelled("waiting for session {} was cancelled", name);
  Error error = NotFound("no active session for {}", name);
  error.hint = "the client has left, or its connection broke";
  return error;
}

std::shared_ptr<Session> Sessions::FindNow(const std::string& id) {
  auto state = state_.Lock();
  const auto at = state->sessions.find(WithoutPrefix(id));
  return at == state->sessions.end() ? nullptr : at->second;
}

Status Sessions::WithAny(const Group& group, std::stop_token stop, const std::function<Status(Session&)>& use) {
  std::optional<Error> last;
  for (const std::string& id : group) {
    auto session = Find(id, stop);
    if (!session) {
      if (session.error().code == Code::kCancelled) return session.error();
      last = session.error();
      continue;
    }
    Status used = use(**session);
    if (used || used.error().code == Code::kCancelled) return used;
    last = used.error();
  }
  if (last) return std::move(*last);
  return NotFound("no active sessions");
}

size_t Sessions::count() { return state_.Lock()->sessions.size(); }

void Sessions::Close(const std::string& why) {
  std::vector<std::shared_ptr<Session>> open;
  {
    auto state = state_.Lock();
    state->closing = why;
    for (const auto& [id, session] : state->sessions) open.push_back(session);
  }
  changed_.notify_all();
  for (const auto& session : open) session->End(why);
}

}  // namespace varve::session
