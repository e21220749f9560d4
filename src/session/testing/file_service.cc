#include "session/testing/file_service.h"

#include <chrono>
#include <thread>

#include "session/packet_stream.h"
#include "session/rpc.h"
#include "session/send_tree.h"
#include "sys/open.h"

namespace varve::session::testing {
namespace {

class ServerPackets final : public PacketStream {
 public:
  ServerPackets(grpc::ServerContext& context, FileService::Stream& stream) : context_(context), stream_(stream) {}
  bool Read(fsutil::types::Packet& packet) override { return stream_.Read(&packet); }
  bool Write(const fsutil::types::Packet& packet) override { return stream_.Write(packet); }
  void Cancel() override { context_.TryCancel(); }

 private:
  grpc::ServerContext& context_;
  FileService::Stream& stream_;
};

}  // namespace

void FileService::StallAfter(int packets) {
  auto state = state_.Lock();
  state->stall_after = packets;
  state->stalled = false;
}

void FileService::AwaitStall() {
  auto state = state_.Lock();
  state.Wait(changed_, [&] { return state->stalled; });
}

std::vector<std::string> FileService::last_metadata(const std::string& key) {
  auto state = state_.Lock();
  std::vector<std::string> values;
  const auto [begin, end] = state->metadata.equal_range(key);
  for (auto at = begin; at != end; ++at) values.push_back(at->second);
  return values;
}

grpc::Status FileService::DiffCopy(grpc::ServerContext* context, Stream* stream) {
  std::string directory;
  {
    auto state = state_.Lock();
    ++state->transfers;
    state->metadata.clear();
    for (const auto& [key, value] : context->client_metadata()) {
      state->metadata.emplace(std::string(key.data(), key.size()), std::string(value.data(), value.size()));
    }
    const auto name = state->metadata.find("dir-name");
    const std::string text = name == state->metadata.end() ? "" : name->second;
    const auto at = state->directories.find(text);
    if (at == state->directories.end()) {
      return {grpc::StatusCode::NOT_FOUND, "no access allowed to dir \"" + text + "\""};
    }
    directory = at->second;
    if (state->stall_after == 0) {
      state->stalled = true;
      changed_.notify_all();
    }
  }
  while (state_.Lock()->stall_after == 0 && !context->IsCancelled()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const auto fd = sys::OpenDir(directory);
  if (!fd) return {grpc::StatusCode::UNKNOWN, fd.error().message};
  ServerPackets packets(*context, *stream);
  const auto sent = SendTree(packets, fd->get(), {}, {});
  if (!sent) return {grpc::StatusCode::UNKNOWN, sent.error().message};
  return grpc::Status::OK;
}

}  // namespace varve::session::testing
