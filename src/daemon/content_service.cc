#include "daemon/content_service.h"

#include <algorithm>

#include "daemon/failure.h"
#include "daemon/status_feed.h"

namespace varve::daemon {

namespace {

constexpr size_t kListed = 256;     // infos a message
constexpr size_t kPiece = 1 << 20;  // bytes a message

void Fill(const cas::BlobStat& stat, content::Info& info) {
  info.set_digest(stat.digest.ToString());
  info.set_size(static_cast<int64_t>(stat.size));
  SetTime(stat.made, info.mutable_created_at());
  SetTime(stat.made, info.mutable_updated_at());
}

}  // namespace

Result<cas::BlobStat> ContentService::Find(const std::string& text, std::optional<std::string>* document) const {
  TRY_ASSIGN(Digest digest, Digest::Parse(text));
  TRY_ASSIGN(auto stat, blobs_->Stat(digest));
  if (stat) return *stat;
  *document = documents_(digest);
  if (!*document) return NotFound("content {}: not found", text);
  return cas::BlobStat{.digest = digest, .size = (*document)->size()};
}

Result<std::unique_ptr<Reader>> ContentService::Open(const Digest& digest, std::optional<std::string>& document) const {
  if (document) return std::unique_ptr<Reader>(std::make_unique<StringReader>(*document));
  return blobs_->Open(digest);
}

grpc::Status ContentService::Info(grpc::ServerContext*, const content::InfoRequest* request,
                                  content::InfoResponse* response) {
  std::optional<std::string> document;
  auto stat = Find(request->digest(), &document);
  if (!stat) return ToGrpc(stat.error());
  Fill(*stat, *response->mutable_info());
  return grpc::Status::OK;
}

grpc::Status ContentService::List(grpc::ServerContext*, const content::ListContentRequest* request,
                                  grpc::ServerWriter<content::ListContentResponse>* writer) {
  if (std::ranges::any_of(request->filters(), [](const std::string& filter) { return !filter.empty(); })) {
    return {grpc::StatusCode::UNIMPLEMENTED, "filters of content are not supported by this daemon"};
  }
  content::ListContentResponse message;
  auto send = [&]() -> varve::Status {
    const bool sent = message.info().empty() || writer->Write(message);
    message.clear_info();
    return sent ? Ok() : varve::Status(Cancelled("the client went away"));
  };
  varve::Status listed = blobs_->ForEachStat([&](const cas::BlobStat& stat) -> varve::Status {
    Fill(stat, *message.add_info());
    return static_cast<size_t>(message.info_size()) < kListed ? Ok() : send();
  });
  if (listed) listed = send();
  return listed ? grpc::Status::OK : ToGrpc(listed.error());
}

grpc::Status ContentService::Read(grpc::ServerContext*, const content::ReadContentRequest* request,
                                  grpc::ServerWriter<content::ReadContentResponse>* writer) {
  auto read = [&]() -> varve::Status {
    std::optional<std::string> document;
    TRY_ASSIGN(cas::BlobStat stat, Find(request->digest(), &document));
    const auto all = static_cast<int64_t>(stat.size);
    if (request->offset() < 0 || request->offset() > all || request->size() < 0) {
      return Invalid("content {}: it has {} bytes, which the range from {} on leaves", request->digest(), all,
                     request->offset());
    }
    const int64_t rest = all - request->offset();
    const int64_t end = request->offset() + (request->size() == 0 ? rest : std::min(rest, request->size()));
    TRY_ASSIGN(auto reader, Open(stat.digest, document));
    std::string piece(kPiece, '\0');
    // A blob store reads from the beginning; ranges of large blobs are rare enough.
    for (int64_t at = 0; at < end;) {
      TRY_ASSIGN(size_t n,
                 reader->Read(std::span(piece.data(), std::min<size_t>(kPiece, static_cast<size_t>(end - at)))));
      if (n == 0) return Corrupt("content {}: the file is shorter than it was", request->digest());
      const int64_t skip = std::clamp<int64_t>(request->offset() - at, 0, static_cast<int64_t>(n));
      content::ReadContentResponse message;
      message.set_offset(at + skip);
      message.set_data(piece.data() + skip, n - static_cast<size_t>(skip));
      at += static_cast<int64_t>(n);
      if (!message.data().empty() && !writer->Write(message)) return Cancelled("the client went away");
    }
    return Ok();
  };
  varve::Status done = read();
  return done ? grpc::Status::OK : ToGrpc(done.error());
}

grpc::Status ContentService::Status(grpc::ServerContext*, const content::StatusRequest* request,
                                    content::StatusResponse*) {
  return {grpc::StatusCode::NOT_FOUND, "no write " + request->ref() + ": this content service is read only"};
}

grpc::Status ContentService::ListStatuses(grpc::ServerContext*, const content::ListStatusesRequest*,
                                          content::ListStatusesResponse*) {
  return grpc::Status::OK;
}

}  // namespace varve::daemon
