// containerd's content service, read only: clients fetch by it what a build's record names (provenance, the image's
// manifest), and may list all blobs of the state root. Who may connect may read them: to build is to be root.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "api/content.grpc.pb.h"
#include "cas/blob_store.h"

namespace varve::daemon {

namespace content = containerd::services::content::v1;

class ContentService final : public content::Content::Service {
 public:
  // What is in no store: documents of the history. Safe from any thread.
  using Documents = std::function<std::optional<std::string>(const Digest& digest)>;
  ContentService(std::unique_ptr<cas::BlobStore> blobs, Documents documents)
      : blobs_(std::move(blobs)), documents_(std::move(documents)) {}

  grpc::Status Info(grpc::ServerContext* context, const content::InfoRequest* request,
                    content::InfoResponse* response) override;
  // All of them; filters are refused, since blobs have no labels here to filter by.
  grpc::Status List(grpc::ServerContext* context, const content::ListContentRequest* request,
                    grpc::ServerWriter<content::ListContentResponse>* writer) override;
  grpc::Status Read(grpc::ServerContext* context, const content::ReadContentRequest* request,
                    grpc::ServerWriter<content::ReadContentResponse>* writer) override;
  // Nobody writes, so nothing is being written.
  grpc::Status Status(grpc::ServerContext* context, const content::StatusRequest* request,
                      content::StatusResponse* response) override;
  grpc::Status ListStatuses(grpc::ServerContext* context, const content::ListStatusesRequest* request,
                            content::ListStatusesResponse* response) override;

 private:
  // Of the store, or a document.
  Result<cas::BlobStat> Find(const std::string& digest, std::optional<std::string>* document) const;
  Result<std::unique_ptr<Reader>> Open(const Digest& digest, std::optional<std::string>& document) const;

  const std::unique_ptr<cas::BlobStore> blobs_;
  const Documents documents_;
};

}  // namespace varve::daemon
