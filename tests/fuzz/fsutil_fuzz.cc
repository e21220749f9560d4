// A client's side of a file transfer: whatever packets it sends, nothing is written outside of the directory, and the
// receiver neither crashes nor waits for ever. The input is a row of packets, each after its length in two bytes.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "session/receive_tree.h"
#include "sys/open.h"
#include "sys/remove.h"

namespace {

class Input final : public varve::session::PacketStream {
 public:
  explicit Input(std::string_view rest) : rest_(rest) {}
  bool Read(fsutil::types::Packet& packet) override {
    if (rest_.size() < 2) return false;
    const size_t size = static_cast<uint8_t>(rest_[0]) | static_cast<size_t>(static_cast<uint8_t>(rest_[1])) << 8;
    rest_.remove_prefix(2);
    const std::string_view body = rest_.substr(0, size);
    rest_.remove_prefix(body.size());
    return packet.ParseFromArray(body.data(), static_cast<int>(body.size()));
  }
  bool Write(const fsutil::types::Packet&) override { return true; }
  void Cancel() override {}

 private:
  std::string_view rest_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace session = varve::session;
  static const std::string base = [] {
    char name[] = "/tmp/varve-fsutil-fuzz-XXXXXX";
    CHECK(::mkdtemp(name) != nullptr);
    return std::string(name);
  }();
  const std::string root = base + "/root";
  CHECK(varve::sys::RemoveAll(root));
  CHECK(::mkdir(root.c_str(), 0700) == 0);
  const auto fd = varve::sys::OpenDir(root);
  CHECK(fd.has_value());
  Input input(std::string_view(reinterpret_cast<const char*>(data), size));
  (void)session::ReceiveTree(input, fd->get(), {.max_entries = 1000, .max_bytes = 1 << 20}, {});
  const auto around = varve::sys::OpenDir(base);
  CHECK(varve::sys::ListDirectory(around->get())->size() == 1);
  return 0;
}
