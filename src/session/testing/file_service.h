// FileSync as docker's client serves it: shared directories, sent with SendTree. Patterns are noted, not applied.
#pragma once

#include <condition_variable>
#include <map>
#include <string>
#include <vector>

#include "api/filesync.grpc.pb.h"
#include "base/guarded.h"

namespace varve::session::testing {

class FileService final : public moby::filesync::v1::FileSync::Service {
 public:
  using Stream = grpc::ServerReaderWriter<fsutil::types::Packet, fsutil::types::Packet>;

  void Share(const std::string& name, const std::string& directory) { state_.Lock()->directories[name] = directory; }
  // Calls stop answering after so many packets; -1: never.
  void StallAfter(int packets);
  void AwaitStall();

  int transfers() { return state_.Lock()->transfers; }
  std::vector<std::string> last_metadata(const std::string& key);

  grpc::Status DiffCopy(grpc::ServerContext* context, Stream* stream) override;

 private:
  struct State {
    std::map<std::string, std::string> directories;
    std::multimap<std::string, std::string> metadata;
    int transfers = 0;
    int stall_after = -1;
    bool stalled = false;
  };
  Guarded<State> state_;
  std::condition_variable changed_;
};

}  // namespace varve::session::testing
