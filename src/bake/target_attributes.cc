#include "bake/target_attributes.h"

#include <algorithm>
#include <set>

#include "bake/attribute_value.h"
#include "base/strings.h"

namespace varve::bake {

using hcl::Attribute;
using hcl::ErrorAt;
using hcl::Type;
using hcl::Value;

namespace {

const std::map<std::string, EntryKind> kEntryAttributes = {
    {"attest", EntryKind::kAttest}, {"cache-from", EntryKind::kCache}, {"cache-to", EntryKind::kCache},
    {"output", EntryKind::kOutput}, {"policy", EntryKind::kPolicy},    {"secret", EntryKind::kSecret},
    {"ssh", EntryKind::kSsh}};

}  // namespace

std::optional<EntryKind> EntryKindOf(const std::string& name) {
  auto found = kEntryAttributes.find(name);
  return found == kEntryAttributes.end() ? std::nullopt : std::optional(found->second);
}

std::string DidYouMean(const std::string& word, const Strings& known) {
  std::vector<std::string_view> views(known.begin(), known.end());
  auto near = NearestWord(word, views);
  return near ? fmt::format(" Did you mean \"{}\"?", *near) : "";
}

Type TypeOfAttribute(const std::string& name) {
  static const std::set<std::string> lists = {"annotations", "entitlements", "inherits", "no-cache-filter",
                                              "platforms",   "tags",         "targets",  "ulimits"};
  static const std::set<std::string> maps = {"args", "contexts", "extra-hosts", "labels"};
  if (lists.contains(name)) return Type::List(Type::String());
  if (maps.contains(name)) return Type::Map(Type::String());
  if (name == "pull" || name == "no-cache") return Type::Bool();
  if (kEntryAttributes.contains(name) || name == "matrix" || name == "resources") return Type::Any();
  return Type::String();
}

Result<Strings> StringsOf(const Value& value, const Attribute& attribute) {
  Strings strings;
  for (const Value& item : value.items()) {
    if (item.is_null())
      return ErrorAt(attribute.value->range, "Unsuitable value type", "Unsuitable value: an element is null");
    strings.push_back(item.as_string());
  }
  return strings;
}

Status SetAttribute(Target& target, const Attribute& attribute, const Value& value) {
  const std::string& name = attribute.name;
  std::map<std::string, std::optional<std::string>*> texts = {{"context", &target.context},
                                                              {"dockerfile", &target.dockerfile},
                                                              {"dockerfile-inline", &target.dockerfile_inline},
                                                              {"target", &target.target},
                                                              {"network", &target.network},
                                                              {"shm-size", &target.shm_size},
                                                              {"call", &target.call}};
  std::map<std::string, std::optional<Strings>*> lists = {
      {"annotations", &target.annotations}, {"tags", &target.tags},
      {"platforms", &target.platforms},     {"no-cache-filter", &target.no_cache_filter},
      {"ulimits", &target.ulimits},         {"entitlements", &target.entitlements}};
  std::map<std::string, NullableMap*> maps = {
      {"args", &target.args}, {"labels", &target.labels}, {"extra-hosts", &target.extra_hosts}};
  std::map<std::string, std::optional<Entries>*> entries = {
      {"attest", &target.attest}, {"cache-from", &target.cache_from}, {"cache-to", &target.cache_to},
      {"output", &target.output}, {"policy", &target.policy},         {"secret", &target.secret},
      {"ssh", &target.ssh}};
  if (auto text = texts.find(name); text != texts.end()) {
    *text->second = value.as_string();
  } else if (auto list = lists.find(name); list != lists.end()) {
    TRY_ASSIGN(*list->second, StringsOf(value, attribute));
  } else if (auto map = maps.find(name); map != maps.end()) {
    for (const auto& [key, member] : value.members())
      (*map->second)[key] = member.is_null() ? std::nullopt : std::optional(member.as_string());
  } else if (auto entry = entries.find(name); entry != entries.end()) {
    TRY_ASSIGN(*entry->second, EntriesOf(kEntryAttributes.at(name), value, attribute));
  } else if (name == "contexts") {
    for (const auto& [key, member] : value.members()) {
      if (member.is_null())
        return ErrorAt(attribute.value->range, "Unsuitable value type",
                       fmt::format("Unsuitable value: the context \"{}\" is null", key));
      target.contexts[key] = member.as_string();
    }
  } else if (name == "inherits") {
    TRY_ASSIGN(target.inherits, StringsOf(value, attribute));
  } else if (name == "description") {
    target.description = value.as_string();
  } else if (name == "pull") {
    target.pull = value.as_bool();
  } else if (name == "no-cache") {
    target.no_cache = value.as_bool();
  } else if (name == "resources") {
    if (!value.is_mapping())
      return ErrorAt(attribute.value->range, "Unsuitable value type", "Unsuitable value: object required");
    TRY_ASSIGN(target.resources, FieldsOf(value, attribute));
    for (const auto& [key, amount] : target.resources) {
      if (std::ranges::find(ResourceNames(), key) == ResourceNames().end()) {
        return ErrorAt(attribute.value->range, "Unsupported argument",
                       fmt::format("\"{}\" is not a resource: use {}.{}", key, Join(ResourceNames(), ", "),
                                   DidYouMean(key, ResourceNames())));
      }
    }
  }
  return Ok();
}

}  // namespace varve::bake
