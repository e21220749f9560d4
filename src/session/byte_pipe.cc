#include "session/byte_pipe.h"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/support/channel_arguments.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <future>
#include <thread>
#include <vector>

namespace varve::session {
namespace {

// As gRPC's own HTTP/2 writes are: 16 KiB frames, several at a time.
constexpr size_t kPiece = 64 << 10;
// A client that ended its half may still read what is on its way.
constexpr auto kPatience = std::chrono::seconds(2);

bool SendAll(int socket, std::string_view data) {
  while (!data.empty()) {
    const ssize_t sent = ::send(socket, data.data(), data.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    data.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

}  // namespace

Result<BytePipe> BytePipe::Make(int message_bytes) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return ErrnoError(errno, "cannot make the socket pair of a session");
  }
  BytePipe pipe;
  pipe.fd_ = Fd(ends[0]);
  Fd channel_end(ends[1]);
  if (::fcntl(channel_end.get(), F_SETFL, O_NONBLOCK) != 0) {
    return ErrnoError(errno, "cannot make the socket of a session non-blocking");
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(message_bytes);
  arguments.SetMaxSendMessageSize(message_bytes);
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");
  // gRPC owns the descriptor from here on.
  pipe.channel_ = grpc::CreateCustomInsecureChannelFromFd("session", channel_end.Release(), arguments);
  return pipe;
}

void BytePipe::Run(ByteStream& stream) { MoveBytes(fd_.get(), stream); }

void BytePipe::Close() { ::shutdown(fd_.get(), SHUT_RDWR); }

void MoveBytes(int socket, ByteStream& stream) {
  std::promise<void> outwards_ended;
  std::atomic<bool> inwards_ended = false;
  std::jthread outwards([&] {
    std::vector<char> buffer(kPiece);
    for (;;) {
      const ssize_t size = ::recv(socket, buffer.data(), buffer.size(), 0);
      if (size < 0 && errno == EINTR) continue;
      if (size <= 0) {
        if (!inwards_ended) stream.Close();
        break;
      }
      if (!stream.Write({buffer.data(), static_cast<size_t>(size)})) break;  // then Read ends as well
    }
    outwards_ended.set_value();
  });
  std::string data;
  bool taken = true;
  while (taken && stream.Read(data)) taken = SendAll(socket, data);
  if (taken) {
    inwards_ended = true;
  } else {
    stream.Cancel();  // the other side does not know yet that nobody listens
  }
  ::shutdown(socket, SHUT_RDWR);  // ends the other thread, unless it waits for somebody who does not read
  if (outwards_ended.get_future().wait_for(kPatience) == std::future_status::timeout) {
    stream.Cancel();
  }
}

}  // namespace varve::session
