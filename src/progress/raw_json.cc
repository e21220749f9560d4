// One SolveStatus object per line (reference cli.md §9 "rawjson"): what tools that read Buildx's
// `--progress rawjson` expect.
#include "base/digest.h"
#include "base/hex.h"
#include "base/json.h"
#include "progress/board.h"

namespace varve::progress {

namespace {

class RawJsonDisplay final : public Display {
 public:
  explicit RawJsonDisplay(Writer& out) : out_(out) {}

  void OnStart(const Vertex& v, Timestamp) override { PutVertex(v); }
  void OnFinish(const Vertex& v, Timestamp) override { PutVertex(v); }
  void OnWhy(const Vertex& v, Timestamp now) override { PutLog(v, 2, "why: " + v.why + "\n", now); }
  void OnLog(const Vertex& v, int stream, std::string_view data, Timestamp now) override {
    PutLog(v, stream, data, now);
  }
  void OnItem(const Vertex& v, const Item& item, Timestamp now) override {
    Json status;
    status.Set("id", item.id).Set("vertex", DigestOfVertex(v.id));
    status.SetIf(item.total > 0, "total", item.total).Set("current", item.current);
    status.Set("timestamp", FormatTime(now)).Set("started", FormatTime(item.started));
    if (item.completed) status.Set("completed", FormatTime(*item.completed));
    Put("statuses", status);
  }
  void OnWarning(const Warning& warning, Timestamp) override {
    Json json;
    json.Set("level", 1).Set("short", Base64Encode(warning.text));
    json.SetIf(!warning.detail.empty(), "detail", Json().Append(Base64Encode(warning.detail)));
    json.SetIf(!warning.url.empty(), "url", warning.url);
    Put("warnings", json);
  }

 private:
  // Vertices have no content digest of their own here; the position names them within one build.
  static std::string DigestOfVertex(uint32_t id) { return Digest::Of("vertex " + std::to_string(id)).ToString(); }

  void PutLog(const Vertex& v, int stream, std::string_view data, Timestamp now) {
    Put("logs", Json()
                    .Set("vertex", DigestOfVertex(v.id))
                    .Set("stream", stream)
                    .Set("data", Base64Encode(data))
                    .Set("timestamp", FormatTime(now)));
  }

  void PutVertex(const Vertex& v) {
    Json json;
    json.Set("digest", DigestOfVertex(v.id));
    if (!v.inputs.empty()) {
      Json inputs = Json::EmptyArray();
      for (uint32_t input : v.inputs) inputs.Append(DigestOfVertex(input));
      json.Set("inputs", inputs);
    }
    json.Set("name", v.name);
    if (v.started) json.Set("started", FormatTime(*v.started));
    if (v.completed) json.Set("completed", FormatTime(*v.completed));
    json.SetIf(v.cached, "cached", true);
    json.SetIf(!v.error.empty(), "error", v.error);
    Put("vertexes", json);
  }

  void Put(std::string_view list, Json entry) {
    out_.Write(Json().Set(list, Json().Append(std::move(entry))).Dump() + "\n");
  }

  Writer& out_;
};

}  // namespace

std::unique_ptr<Display> MakeRawJsonDisplay(Writer& out) { return std::make_unique<RawJsonDisplay>(out); }

}  // namespace varve::progress
