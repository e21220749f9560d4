// Two ends of a packet stream in memory.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <utility>

#include "base/guarded.h"
#include "session/packet_stream.h"

namespace varve::session::testing {

class PacketPipe final : public PacketStream {
 public:
  static std::pair<std::unique_ptr<PacketPipe>, std::unique_ptr<PacketPipe>> Make() {
    auto there = std::make_shared<Queue>(), back = std::make_shared<Queue>();
    return {std::unique_ptr<PacketPipe>(new PacketPipe(there, back)),
            std::unique_ptr<PacketPipe>(new PacketPipe(back, there))};
  }
  ~PacketPipe() override { Cancel(); }

  bool Read(fsutil::types::Packet& packet) override {
    auto packets = in_->packets.Lock();
    packets.Wait(in_->changed, [&] { return packets->closed || !packets->queue.empty(); });
    if (packets->queue.empty()) return false;
    packet = std::move(packets->queue.front());
    packets->queue.pop_front();
    return true;
  }
  bool Write(const fsutil::types::Packet& packet) override {
    auto packets = out_->packets.Lock();
    if (packets->closed) return false;
    packets->queue.push_back(packet);
    out_->changed.notify_all();
    return true;
  }
  void Cancel() override {
    for (const auto& queue : {in_, out_}) {
      queue->packets.Lock()->closed = true;
      queue->changed.notify_all();
    }
  }

 private:
  struct Packets {
    std::deque<fsutil::types::Packet> queue;
    bool closed = false;
  };
  struct Queue {
    Guarded<Packets> packets;
    std::condition_variable changed;
  };
  PacketPipe(std::shared_ptr<Queue> in, std::shared_ptr<Queue> out) : in_(std::move(in)), out_(std::move(out)) {}

  std::shared_ptr<Queue> in_, out_;
};

}  // namespace varve::session::testing
