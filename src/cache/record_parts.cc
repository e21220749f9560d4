// The body of a record in the index, binary: of a build whose steps are all hits, parsing the JSON of its
// records was a seventh.
//
//   body    := (1 | 2) key name slot op created wall new_bytes
//              n (m layer{m} tree){n}            outputs; a tree of 0 bytes is one that is not known
//              n (name tree selection){n}        inputs
//              n (reference chain){n}            images
//              trace unknown log
//              n (path time){n}                  directories; after 2 alone, which a body without any is not
//              checksum
//   trace   := 0 | 1 weak n reads{n} n times{n}
//   log     := SHA-256 of the log; checksum := SHA-256 of all before it
//
// Numbers are varints, digests 32 bytes, everything else is counted bytes. A row of an earlier version has JSON, which
// begins with '{'.
#include "cache/record_parts.h"

#include "base/wire.h"

namespace varve::cache {

namespace {

constexpr char kBinary = 1, kWithDirectories = 2;

class Encoder {
 public:
  explicit Encoder(char form) : out_(1, form) {}
  void Number(uint64_t value) { PutVarint(out_, value); }
  void Bytes(std::string_view bytes) { PutBytes(out_, bytes); }
  void Raw(const Digest& digest) { out_ += digest.raw(); }
  void Optional(const Digest& digest) { PutBytes(out_, digest.empty() ? std::string_view() : digest.raw()); }
  template <class List, class F>
  void Each(const List& list, F&& put) {
    Number(list.size());
    for (const auto& item : list) put(item);
  }
  std::string Finish() {
    Raw(Digest::Of(out_));
    return std::move(out_);
  }

 private:
  std::string out_;
};

// What is not there reads as empty, and is told at the end: the checksum has told of damage before.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : in_(bytes) {}

  uint64_t Number() {
    uint64_t value = 0;
    ok_ = ok_ && in_.Varint(&value);
    return ok_ ? value : 0;
  }
  std::string Bytes() {
    std::string_view bytes;
    ok_ = ok_ && in_.Bytes(&bytes);
    return ok_ ? std::string(bytes) : std::string();
  }
  Digest Raw() {
    std::string_view bytes;
    ok_ = ok_ && in_.Raw(Digest::kSize, &bytes);
    return ok_ ? Digest::FromBytes(bytes) : Digest();
  }
  Digest Optional() {
    std::string bytes = Bytes();
    ok_ = ok_ && (bytes.empty() || bytes.size() == Digest::kSize);
    return ok_ && !bytes.empty() ? Digest::FromBytes(bytes) : Digest();
  }
  template <class F>
  void Each(F&& get) {
    for (uint64_t left = Number(); left > 0 && ok_; --left) get();
  }
  bool IsWhole() const { return ok_ && in_.AtEnd(); }

 private:
  Cursor in_;
  bool ok_ = true;
};

}  // namespace

bool IsBinaryBody(std::string_view body) { return body.starts_with(kBinary) || body.starts_with(kWithDirectories); }

std::string EncodeBody(const StepRecord& record) {
  Encoder out(record.directories.empty() ? kBinary : kWithDirectories);
  out.Raw(record.key.value);
  out.Bytes(record.name);
  out.Bytes(record.slot);
  out.Raw(record.op_digest);
  out.Number(static_cast<uint64_t>(record.created.nanos));
  out.Number(static_cast<uint64_t>(record.wall.count()));
  out.Number(record.new_bytes);
  out.Each(record.outputs, [&](const Rootfs& output) {
    out.Each(output.layers, [&](const DiffId& layer) { out.Raw(layer.value); });
    out.Optional(output.tree_root);
  });
  out.Each(record.inputs, [&](const InputTree& input) {
    out.Bytes(input.name);
    out.Raw(input.tree_root);
    out.Raw(input.selection);
  });
  out.Each(record.images, [&](const InputImage& image) {
    out.Bytes(image.reference);
    out.Raw(image.chain.value);
  });
  out.Number(record.trace ? 1 : 0);
  if (record.trace) {
    out.Raw(record.trace->weak_key);
    out.Each(record.trace->reads, [&](const std::string& set) { out.Bytes(set); });
    out.Each(record.trace->times, [&](const std::string& of) { out.Bytes(of); });
  }
  out.Bytes(record.unknown);
  out.Raw(Digest::Of(record.log));
  if (!record.directories.empty()) {
    out.Each(record.directories, [&](const auto& directory) {
      out.Bytes(directory.first.str());
      out.Number(static_cast<uint64_t>(directory.second.nanos));
    });
  }
  return out.Finish();
}

Result<StepRecord> DecodeBody(std::string_view body, std::string_view log) {
  if (body.size() < Digest::kSize + 1) return Corrupt("step record: it is cut short");
  std::string_view content = body.substr(0, body.size() - Digest::kSize);
  if (Digest::Of(content).raw() != body.substr(content.size())) {
    return Corrupt("step record: it does not have the checksum that it ends with");
  }
  Decoder in(content.substr(1));
  StepRecord record;
  record.key = StepKey(in.Raw());
  record.name = in.Bytes();
  record.slot = in.Bytes();
  record.op_digest = in.Raw();
  record.created = {static_cast<int64_t>(in.Number())};
  record.wall = Nanos(static_cast<int64_t>(in.Number()));
  record.new_bytes = in.Number();
  in.Each([&] {
    Rootfs& output = record.outputs.emplace_back();
    in.Each([&] { output.layers.emplace_back(in.Raw()); });
    output.tree_root = in.Optional();
  });
  in.Each([&] {
    InputTree& input = record.inputs.emplace_back();
    input.name = in.Bytes();
    input.tree_root = in.Raw();
    input.selection = in.Raw();
  });
  in.Each([&] {
    InputImage& image = record.images.emplace_back();
    image.reference = in.Bytes();
    image.chain = ChainId(in.Raw());
  });
  if (in.Number() == 1) {
    record.trace.emplace().weak_key = in.Raw();
    in.Each([&] { record.trace->reads.push_back(in.Bytes()); });
    in.Each([&] { record.trace->times.push_back(in.Bytes()); });
  }
  record.unknown = in.Bytes();
  Digest log_digest = in.Raw();
  if (content.starts_with(kWithDirectories)) {
    in.Each([&] {
      RelPath path(in.Bytes());
      record.directories[std::move(path)] = {static_cast<int64_t>(in.Number())};
    });
  }
  if (!in.IsWhole()) return Corrupt("step record: it is malformed");
  if (log_digest != Digest::Of(log)) return Corrupt("step record: its log is damaged");
  return record;
}

}  // namespace varve::cache
