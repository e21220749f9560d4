// Multipart uploads: parts are read one after the other and sent side by side, each signed and
// repeated on its own.
#include <algorithm>
#include <mutex>

#include "base/log.h"
#include "base/thread_pool.h"
#include "objects/s3_store.h"
#include "objects/xml.h"

namespace varve::objects {

namespace {

constexpr uint64_t kMaxParts = 10'000;
constexpr uint64_t kMebibyte = 1 << 20;

uint64_t PartSize(uint64_t size, uint64_t least) {
  uint64_t needed = (size + kMaxParts - 1) / kMaxParts;
  if (needed <= least) return least;
  return (needed + kMebibyte - 1) / kMebibyte * kMebibyte;
}

}  // namespace

Status S3Store::PutInParts(const std::string& bucket_key, const Body& body, std::stop_token stop) {
  TRY_ASSIGN(Answer created, AskOk({.method = "POST",
                                    .key = bucket_key,
                                    .query = {{"uploads", ""}},
                                    .headers = {{"Content-Type", "application/octet-stream"}}},
                                   stop));
  auto xml = ParseXml(created.body);
  std::string upload(xml ? xml->Text("UploadId") : "");
  if (upload.empty()) return Corrupt("{}: an upload was begun without an UploadId", Name());

  const uint64_t part_size = PartSize(body.size, options_.part_size);
  const size_t parts = static_cast<size_t>((body.size + part_size - 1) / part_size);
  std::vector<std::string> etags(parts);
  auto send_all = [&]() -> Status {
    TRY_ASSIGN(std::unique_ptr<Reader> in, body.open());
    std::mutex reading;
    size_t next = 0;
    Status all = ParallelFor(parts, options_.upload_parallelism, [&](size_t) -> Status {
      std::string bytes;
      size_t part;
      {
        std::lock_guard lock(reading);
        part = next++;
        bytes.resize(static_cast<size_t>(std::min(part_size, body.size - part * part_size)));
        TRY(ReadExactly(*in, bytes));
      }
      TRY_ASSIGN(Answer answer, AskOk({.method = "PUT",
                                       .key = bucket_key,
                                       .query = {{"partNumber", std::to_string(part + 1)}, {"uploadId", upload}},
                                       .body = std::move(bytes)},
                                      stop));
      etags[part] = answer.head.Header("ETag");
      if (etags[part].empty()) return Corrupt("{}: a part was taken without an ETag", Name());
      return Ok();
    });
    if (!all) return all;
    std::string list = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
    for (size_t i = 0; i < parts; ++i) {
      list += fmt::format("<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>", i + 1, EscapeXml(etags[i]));
    }
    list += "</CompleteMultipartUpload>";
    Call complete{.method = "POST",
                  .key = bucket_key,
                  .query = {{"uploadId", upload}},
                  .headers = {{"Content-Type", "application/xml"}},
                  .body = std::move(list)};
    auto done = AskOk(complete, stop);
    if (done) return Ok();
    // The answer to an attempt that succeeded may have been lost; the next one finds no upload.
    if (done.error().code == Code::kNotFound) {
      TRY_ASSIGN(std::optional<ObjectInfo> there, Head(bucket_key.substr(options_.prefix.size()), stop));
      if (there && there->size == body.size) return Ok();
    }
    return done.error();
  };
  Status sent = send_all();
  if (sent) return sent;
  // Parts that stay cost their owner money until a life-cycle rule removes them. Also after a stop,
  // which is why this does not listen to it.
  if (auto aborted = AskOk({.method = "DELETE", .key = bucket_key, .query = {{"uploadId", upload}}}, {});
      !aborted && aborted.error().code != Code::kNotFound) {
    LOG_WARN("{}: parts of a failed upload stay: {}", Name(), aborted.error().message);
  }
  return sent;
}

}  // namespace varve::objects
