// fsutil packets to and from the other side, whatever carries them.
#pragma once

#include "api/fsutil.pb.h"

namespace varve::session {

// Read is called by one thread, Write by one at a time; both may run at the same time.
class PacketStream {
 public:
  virtual ~PacketStream() = default;
  virtual bool Read(fsutil::types::Packet& packet) = 0;         // false: the end, or it is broken
  virtual bool Write(const fsutil::types::Packet& packet) = 0;  // false: it is broken
  // May keep it until the next Write, which follows: many packets then leave at once.
  virtual bool WriteSoon(const fsutil::types::Packet& packet) { return Write(packet); }
  virtual void Cancel() = 0;  // makes both return false, from any thread
};

}  // namespace varve::session
