// The bytes of a session: what a client sends inside of Control.Session is an HTTP/2 connection to gRPC, and what comes
// of it must be a failed call.
#include <cstdint>
#include <future>
#include <string>
#include <string_view>
#include <thread>

#include "base/result.h"
#include "session/byte_pipe.h"
#include "session/secrets.h"

namespace {

class Input final : public varve::session::ByteStream {
 public:
  explicit Input(std::string_view rest) : rest_(rest) {}
  bool Read(std::string& data) override {
    data = rest_.substr(0, 100);
    rest_.remove_prefix(data.size());
    return !data.empty();
  }
  bool Write(std::string_view) override { return true; }
  void Cancel() override {}

 private:
  std::string_view rest_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace session = varve::session;
  auto pipe = session::BytePipe::Make(1 << 20);
  CHECK(pipe.has_value());
  session::Session client({.id = "fuzz", .methods = {"/moby.buildkit.secrets.v1.secrets/getsecret"}}, pipe->channel());
  auto answer = std::async(std::launch::async, [&] { (void)session::GetSecret(client, "x", {}); });
  Input input(std::string_view(reinterpret_cast<const char*>(data), size));
  pipe->Run(input);
  answer.get();
  return 0;
}
