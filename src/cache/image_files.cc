#include "cache/image_files.h"

#include <unistd.h>

#include <cerrno>
#include <functional>
#include <optional>

#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "sys/open.h"

namespace varve::cache {

namespace {

std::string FileOf(const std::string& root, const std::string& name) {
  return fmt::format("{}/images/{}.json", root, Digest::Of(name).Hex());
}

Result<StoredImage> Parse(const std::string& text) {
  TRY_ASSIGN(Json json, Json::Parse(text));
  StoredImage image{.name = json.GetString("name")};
  TRY_ASSIGN(image.manifest, Digest::Parse(json.GetString("manifest")));
  TRY_ASSIGN(image.updated, ParseTime(json.GetString("updated")));
  return image;
}

}  // namespace

Status WriteImageFile(const std::string& root, const StoredImage& image) {
  Json json;
  json.Set("version", 1).Set("name", image.name).Set("manifest", image.manifest.ToString());
  json.Set("updated", FormatTime(image.updated));
  std::string path = FileOf(root, image.name);
  Status written = WriteFileAtomically(path, json.Dump() + "\n", 0600);
  if (written || written.error().code != Code::kNotFound) return written;
  TRY(sys::MkdirAll(root + "/images", 0700));
  return WriteFileAtomically(path, json.Dump() + "\n", 0600);
}

bool HasImageFile(const std::string& root, const std::string& name) {
  return access(FileOf(root, name).c_str(), F_OK) == 0;
}

Status RemoveImageFile(const std::string& root, const std::string& name) {
  std::string path = FileOf(root, name);
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return ErrnoError(errno, "remove " + path);
  return Ok();
}

namespace {

Status ForEachImageFile(const std::string& root,
                        const std::function<void(const std::string& path, std::optional<StoredImage>)>& visit) {
  auto dir = sys::OpenDir(root + "/images");
  if (!dir && dir.error().code == Code::kNotFound) return Ok();
  if (!dir) return std::move(dir).error();
  TRY_ASSIGN(auto files, sys::ListDirectory(dir->get()));
  for (const sys::DirEntry& file : files) {
    if (!file.name.ends_with(".json")) continue;
    std::string path = fmt::format("{}/images/{}", root, file.name);
    auto text = ReadFile(path, 1 << 20);
    auto image = text ? Parse(*text) : Result<StoredImage>(Error(text.error()));
    bool good = image && FileOf(root, image->name) == path;
    visit(path, good ? std::optional(std::move(*image)) : std::nullopt);
  }
  return Ok();
}

}  // namespace

Result<std::vector<StoredImage>> ReadImageFiles(const std::string& root) {
  std::vector<StoredImage> out;
  TRY(ForEachImageFile(root, [&](const std::string& path, std::optional<StoredImage> image) {
    if (image) {
      out.push_back(std::move(*image));
    } else {
      LOG_WARN("{} is damaged; the image that it named is forgotten", path);
    }
  }));
  return out;
}

Result<std::vector<std::string>> DamagedImageFiles(const std::string& root) {
  std::vector<std::string> out;
  TRY(ForEachImageFile(root, [&](const std::string& path, const std::optional<StoredImage>& image) {
    if (!image) out.push_back(path);
  }));
  return out;
}

}  // namespace varve::cache
