// fsutil packets over a call to the client.
#pragma once

#include <grpcpp/support/sync_stream.h>

#include "session/packet_stream.h"
#include "session/rpc.h"

namespace varve::session {

class ClientPackets final : public PacketStream {
 public:
  using Stream = grpc::ClientReaderWriterInterface<fsutil::types::Packet, fsutil::types::Packet>;
  ClientPackets(Call& call, Stream& stream) : call_(call), stream_(stream) {}
  bool Read(fsutil::types::Packet& packet) override { return stream_.Read(&packet); }
  bool Write(const fsutil::types::Packet& packet) override { return stream_.Write(packet); }
  bool WriteSoon(const fsutil::types::Packet& packet) override {
    return stream_.Write(packet, grpc::WriteOptions().set_buffer_hint());
  }
  void Cancel() override { call_.Cancel(); }

 private:
  Call& call_;
  Stream& stream_;
};

}  // namespace varve::session
