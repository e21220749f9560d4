// A gRPC channel through a stream of messages that carry bytes.
//
// One end of a socket pair is given to gRPC as a connection, the other is moved to and from the stream. A channel
// over a descriptor never connects again: when the bytes end, its calls fail, and so do later ones.
#pragma once

#include <grpcpp/channel.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

namespace varve::session {

// The stream. Read and Write may be called at the same time, by one thread each.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  virtual bool Read(std::string& data) = 0;       // false: the other side ended it
  virtual bool Write(std::string_view data) = 0;  // false: it is broken
  virtual void Cancel() = 0;                      // makes both return false, from any thread
  // Nothing more will be written; from the thread that writes. What cannot end one direction alone ends both.
  virtual void Close() { Cancel(); }
};

// A gRPC stream of messages with a field `data`, in both directions.
template <typename Message, typename Stream>
class MessageBytes : public ByteStream {
 public:
  explicit MessageBytes(Stream& stream) : stream_(stream) {}
  bool Read(std::string& data) override {
    if (!stream_.Read(&in_)) return false;
    data.swap(*in_.mutable_data());
    return true;
  }
  bool Write(std::string_view data) override {
    out_.set_data(data.data(), data.size());
    return stream_.Write(out_);
  }

 protected:
  Stream& stream_;

 private:
  Message in_, out_;
};

class BytePipe {
 public:
  // `message_bytes`: the largest gRPC message in either direction.
  static Result<BytePipe> Make(int message_bytes);

  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  // Moves bytes until either end is closed, and closes both. Uses this thread for the stream's messages and one more
  // for the channel's.
  void Run(ByteStream& stream);
  // Makes Run return: from any thread, also before it was called.
  void Close();

 private:
  std::shared_ptr<grpc::Channel> channel_;
  Fd fd_;
};

// Moves bytes between a socket and the stream until either ends: the half of BytePipe that a test's client needs too.
// The socket is shut down on return; the stream is cancelled unless the other side ended it in good order.
void MoveBytes(int socket, ByteStream& stream);

}  // namespace varve::session
