// Azure's block blobs as far as clients of the cache service use them (learn.microsoft.com,
// "Blob service REST API": Put Blob, Put Block, Put Block List, Get Blob, Get Blob Properties).
#include <atomic>
#include <ctime>

#include "base/hex.h"
#include "base/strings.h"
#include "gha_server/cache_service.h"
#include "gha_server/exchanges.h"

namespace varve::gha_server {

namespace {

constexpr size_t kMaxBlockList = 8 << 20;  // 50,000 blocks
constexpr size_t kMaxBlockId = 64;

// Of every reply. BuildKit's client takes it for granted that a request has an id, and ends with its daemon where not.
HttpReply Reply(int status, decltype(HttpReply::headers) headers) {
  static std::atomic<uint64_t> requests = 0;
  headers.emplace_back("x-ms-request-id", fmt::format("00000000-0000-0000-0000-{:012x}", ++requests));
  headers.emplace_back("x-ms-version", "2024-11-04");
  return {.status = status, .headers = std::move(headers)};
}

HttpReply AzureError(int status, std::string_view code, std::string_view message) {
  HttpReply reply = Reply(status, {{"Content-Type", "application/xml"}, {"x-ms-error-code", std::string(code)}});
  reply.body = fmt::format(
      "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{}</Code><Message>{}</Message></Error>", code, message);
  return reply;
}

std::string HttpDate(Timestamp time) {
  time_t seconds = time.seconds();
  tm parts = {};
  gmtime_r(&seconds, &parts);
  char text[64];
  strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts);  // the C locale: varve sets no other
  return text;
}

std::string ETag(EntryId id, Timestamp time) { return fmt::format("\"0x{:X}{:X}\"", id, time.nanos); }

// The block ids of <BlockList><Latest>…</Latest>…</BlockList>, in order; nothing when it is none.
std::optional<std::vector<std::string>> ParseBlockList(std::string_view xml) {
  size_t at = xml.find("<BlockList>"), end = xml.find("</BlockList>");
  if (xml.find("<BlockList") != xml.npos && xml.find("/>") != xml.npos && at == xml.npos) {
    return std::vector<std::string>();
  }
  if (at == xml.npos || end == xml.npos) return {};
  xml = TrimSpace(xml.substr(at + 11, end - at - 11));
  std::vector<std::string> ids;
  while (!xml.empty()) {
    size_t close = xml.find('>');
    if (xml[0] != '<' || close == xml.npos) return {};
    std::string name(xml.substr(1, close - 1));
    if (name != "Latest" && name != "Uncommitted" && name != "Committed") return {};
    size_t stop = xml.find("</" + name + ">");
    if (stop == xml.npos) return {};
    ids.emplace_back(TrimSpace(xml.substr(close + 1, stop - close - 1)));
    xml = TrimSpace(xml.substr(stop + name.size() + 3));
  }
  return ids;
}

struct Range {
  uint64_t begin = 0, size = 0;
};

// Nothing: no such bytes. The whole for a header that is absent or not understood (RFC 9110 §14.2).
std::optional<Range> ParseRange(std::string_view text, uint64_t size) {
  Range whole{0, size};
  if (!text.starts_with("bytes=")) return whole;
  text.remove_prefix(6);
  size_t dash = text.find('-');
  if (dash == text.npos || text.find(',') != text.npos) return whole;
  auto first = ParseInt(text.substr(0, dash)), last = ParseInt(text.substr(dash + 1));
  if (dash == 0 && last) {  // the last bytes
    uint64_t count = std::min<uint64_t>(static_cast<uint64_t>(*last), size);
    if (count == 0) return {};
    return Range{size - count, count};
  }
  if (!first || (dash + 1 < text.size() && (!last || *last < *first))) return whole;
  uint64_t begin = static_cast<uint64_t>(*first);
  if (begin >= size) return {};
  uint64_t end = last ? std::min<uint64_t>(static_cast<uint64_t>(*last) + 1, size) : size;
  return Range{begin, end - begin};
}

HttpReply Outcome(const Status& status) {
  if (!status) {
    bool theirs = status.error().code == Code::kInvalid;
    return AzureError(theirs ? 400 : 500, theirs ? "InvalidBlockList" : "InternalError", status.error().message);
  }
  return Reply(201, {{"x-ms-request-server-encrypted", "false"}});
}

}  // namespace

std::unique_ptr<Exchange> CacheService::AcceptBlob(const HttpRequest& request, const std::string& name) {
  auto id = ParseInt(name);
  bool reads = request.method == "GET" || request.method == "HEAD";
  if (!reads && request.method != "PUT") return Answer(AzureError(405, "UnsupportedHttpVerb", "use GET, HEAD or PUT"));
  if (!id || !credentials_.IsSigned(request, reads ? "r" : "cw")) {
    return Answer(
        AzureError(403, "AuthenticationFailed", "the address is not signed for this, or its signature is expired"));
  }
  if (reads) return Answer(GetBlob(request, *id));
  std::shared_ptr<Upload> upload = store_.FindUpload(*id);
  if (upload == nullptr) return Answer(AzureError(404, "BlobNotFound", "no upload of that name"));
  return PutBlob(request, std::move(upload));
}

std::unique_ptr<Exchange> CacheService::PutBlob(const HttpRequest& request, std::shared_ptr<Upload> upload) {
  auto length = ParseInt(request.Header("content-length"));
  if (!length) return Answer(AzureError(411, "MissingContentLengthHeader", "no Content-Length"));
  if (static_cast<uint64_t>(*length) > store_.max_size()) {
    return Answer(AzureError(413, "RequestBodyTooLarge", "the body is larger than the cache"));
  }
  if (!request.Header("content-md5").empty() || !request.Header("x-ms-content-crc64").empty()) {
    return Answer(AzureError(400, "UnsupportedHeader", "checksums of uploads are not checked here: leave them out"));
  }
  std::string what = request.Query("comp");
  if (what == "block") {
    std::string id = request.Query("blockid"), raw;
    if (id.empty() || !Base64Decode(id, &raw) || raw.size() > kMaxBlockId) {
      return Answer(AzureError(400, "InvalidQueryParameterValue", "blockid is not base64 of at most 64 bytes"));
    }
    return std::make_unique<PartBody>(upload, upload->StartBlock(id), Outcome);
  }
  if (what == "blocklist") {
    return std::make_unique<WholeBody>(kMaxBlockList, [this, upload](const std::string& body) {
      auto ids = ParseBlockList(body);
      if (!ids) return AzureError(400, "InvalidXmlDocument", "the body is not a block list");
      HttpReply reply = Outcome(upload->JoinBlocks(*ids));
      reply.headers.emplace_back("ETag", ETag(upload->id(), clock_.Now()));
      reply.headers.emplace_back("Last-Modified", HttpDate(clock_.Now()));
      return reply;
    });
  }
  if (!what.empty()) return Answer(AzureError(400, "InvalidQueryParameterValue", "comp is not block or blocklist"));
  if (request.Header("x-ms-blob-type") != "BlockBlob") {
    return Answer(AzureError(400, "InvalidHeaderValue", "x-ms-blob-type is not BlockBlob"));
  }
  return std::make_unique<PartBody>(upload, upload->StartWhole(), [this, upload](const Status& status) {
    HttpReply reply = Outcome(status);
    reply.headers.emplace_back("ETag", ETag(upload->id(), clock_.Now()));
    reply.headers.emplace_back("Last-Modified", HttpDate(clock_.Now()));
    return reply;
  });
}

HttpReply CacheService::GetBlob(const HttpRequest& request, EntryId id) {
  auto content = store_.Read(id);
  if (!content) return AzureError(404, "BlobNotFound", "the entry is gone");
  std::string tag = ETag(id, content->entry.created);
  if (std::string match = request.Header("if-match"); !match.empty() && match != "*" && match != tag) {
    return AzureError(412, "ConditionNotMet", "the entry is another one");
  }
  std::string wanted = request.Header("x-ms-range");
  if (wanted.empty()) wanted = request.Header("range");
  bool partial = wanted.starts_with("bytes=") && request.method == "GET";
  auto range = ParseRange(partial ? wanted : "", content->entry.size);
  if (!range) {
    HttpReply reply = AzureError(416, "InvalidRange", "the entry has no such bytes");
    reply.headers.emplace_back("Content-Range", fmt::format("bytes */{}", content->entry.size));
    return reply;
  }
  HttpReply reply = Reply(partial ? 206 : 200, {{"Accept-Ranges", "bytes"},
                                                {"ETag", tag},
                                                {"Content-Type", "application/octet-stream"},
                                                {"Last-Modified", HttpDate(content->entry.created)},
                                                {"x-ms-blob-type", "BlockBlob"},
                                                {"x-ms-lease-status", "unlocked"},
                                                {"x-ms-lease-state", "available"}});
  if (partial) {
    reply.headers.emplace_back("Content-Range", fmt::format("bytes {}-{}/{}", range->begin,
                                                            range->begin + range->size - 1, content->entry.size));
  }
  reply.file = {.fd = std::move(content->fd), .offset = range->begin, .size = range->size};
  return reply;
}

}  // namespace varve::gha_server
