// The content stores of a client, as far as daemons ask for them.
#pragma once

#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "api/content.grpc.pb.h"
#include "base/digest.h"
#include "base/guarded.h"

namespace varve::session::testing {

namespace api = containerd::services::content::v1;

// containerd's content server, as far as clients serve it, over a map: one answer a request, verified at the commit.
class ContentStores final : public api::Content::Service {
 public:
  using Blobs = Guarded<std::map<std::string, std::string>>;  // by digest

  // A store of that id. Before the first call.
  Blobs& Add(const std::string& id) { return stores_[id]; }
  static std::vector<std::string> Methods() {
    const std::string service = "/containerd.services.content.v1.Content/";
    return {service + "Info", service + "Read", service + "Write"};
  }
  std::atomic<int> writes = 0;

  grpc::Status Info(grpc::ServerContext* context, const api::InfoRequest* request,
                    api::InfoResponse* response) override {
    Blobs* blobs = Choose(*context);
    if (blobs == nullptr) return Unknown();
    auto all = blobs->Lock();
    const auto at = all->find(request->digest());
    if (at == all->end()) return {grpc::StatusCode::NOT_FOUND, "content " + request->digest() + ": not found"};
    response->mutable_info()->set_size(static_cast<int64_t>(at->second.size()));
    return grpc::Status::OK;
  }
  grpc::Status Read(grpc::ServerContext* context, const api::ReadContentRequest* request,
                    grpc::ServerWriter<api::ReadContentResponse>* writer) override {
    Blobs* blobs = Choose(*context);
    if (blobs == nullptr) return Unknown();
    auto all = blobs->Lock();
    const auto at = all->find(request->digest());
    if (at == all->end()) return {grpc::StatusCode::NOT_FOUND, "content not found"};
    std::string rest = at->second.substr(static_cast<size_t>(request->offset()));
    if (request->size() > 0) rest = rest.substr(0, static_cast<size_t>(request->size()));
    api::ReadContentResponse response;
    int64_t offset = request->offset();
    for (size_t i = 0; i < rest.size(); i += 1000) {
      response.set_offset(offset);
      response.set_data(rest.substr(i, 1000));
      offset += static_cast<int64_t>(response.data().size());
      writer->Write(response);
    }
    return grpc::Status::OK;
  }
  grpc::Status Write(grpc::ServerContext* context,
                     grpc::ServerReaderWriter<api::WriteContentResponse, api::WriteContentRequest>* stream) override {
    Blobs* blobs = Choose(*context);
    if (blobs == nullptr) return Unknown();
    api::WriteContentRequest request;
    std::string data;
    while (stream->Read(&request)) {
      if (blobs->Lock()->contains(request.expected())) {
        return {grpc::StatusCode::ALREADY_EXISTS, "content exists"};
      }
      if (request.offset() != static_cast<int64_t>(data.size())) {
        return {grpc::StatusCode::OUT_OF_RANGE, "write at the wrong place"};
      }
      if (request.action() == api::WRITE) ++writes;
      data += request.data();
      if (request.action() == api::COMMIT) {
        if (Digest::Of(data).ToString() != request.expected()) {
          return {grpc::StatusCode::FAILED_PRECONDITION, "unexpected commit digest"};
        }
        (*blobs->Lock())[request.expected()] = data;
      }
      api::WriteContentResponse response;
      response.set_action(request.action());
      response.set_offset(static_cast<int64_t>(data.size()));
      stream->Write(response);
      if (request.action() != api::COMMIT) continue;
      stream->Write(response);  // as containerd does
      return grpc::Status::OK;
    }
    return grpc::Status::OK;
  }

 private:
  static grpc::Status Unknown() { return {grpc::StatusCode::NOT_FOUND, "unknown store"}; }
  Blobs* Choose(const grpc::ServerContext& context) {
    const auto at = context.client_metadata().find("buildkit-attachable-store-id");
    if (at == context.client_metadata().end()) return nullptr;
    const auto store = stores_.find(std::string(at->second.data(), at->second.size()));
    return store == stores_.end() ? nullptr : &store->second;
  }

  std::map<std::string, Blobs> stores_;
};

}  // namespace varve::session::testing
