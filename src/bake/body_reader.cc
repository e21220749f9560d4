// HCL bodies to a definition. Values are worked out when they are asked for: a variable may use
// functions, other variables and attributes of targets, which in turn use variables.
#include <algorithm>
#include <cstdint>
#include <list>
#include <memory>
#include <set>

#include "bake/attribute_value.h"
#include "bake/readers.h"
#include "bake/target_attributes.h"
#include "bake/variable.h"
#include "base/strings.h"
#include "hcl/evaluate.h"
#include "hcl/functions.h"

namespace varve::bake {

using hcl::Attribute;
using hcl::Block;
using hcl::ErrorAt;
using hcl::Expression;
using hcl::Type;
using hcl::Value;

namespace {

// One target of a block: a block with a matrix is several.
struct Instance {
  const Block* block = nullptr;
  std::string name;
  std::map<std::string, Value> matrix;
};

class Reader final : public hcl::Scope {
 public:
  Reader(const std::vector<hcl::Body>& bodies, const ReadOptions& options, Definition& out)
      : bodies_(bodies), options_(options), out_(out) {}

  Status Run() {
    TRY(Collect());
    TRY(ReadVariables());
    for (const auto& [name, block] : functions_) {
      TRY_ASSIGN(auto function, FindFunction(name));
      (void)function;
    }
    TRY(NameBlocks());
    for (const Instance& instance : instances_) {
      TRY(instance.block->type == "group" ? ReadGroup(instance) : ReadTarget(instance));
    }
    AddMatrixGroups();
    for (const auto& [name, attribute] : attributes_) {
      TRY_ASSIGN(Value value, FreeAttribute(name, *attribute));
      (void)value;
    }
    return Ok();
  }

  // --- hcl::Scope

  Result<std::optional<Found>> Find(const std::string& root, std::span<const std::string> steps) const override {
    if (root == "target" || root == "group") return FindBlock(root, steps);
    if (auto it = values_.find(root); it != values_.end()) return Found{it->second, 0};
    if (auto it = options_.built_in.find(root); it != options_.built_in.end()) return Found{Value(it->second), 0};
    auto* self = const_cast<Reader*>(this);  // values are remembered
    if (auto it = attributes_.find(root); it != attributes_.end()) {
      TRY_ASSIGN(Value value, self->FreeAttribute(root, *it->second));
      return Found{std::move(value), 0};
    }
    auto variable = variables_.find(root);
    if (variable == variables_.end()) return std::optional<Found>();
    TRY_ASSIGN(Value value, self->VariableOf(root, *variable->second));
    return Found{std::move(value), 0};
  }

  Result<std::optional<hcl::Function>> FindFunction(const std::string& name) const override {
    const auto& standard = hcl::StandardFunctions();
    if (auto it = standard.find(name); it != standard.end()) return it->second;
    auto it = functions_.find(name);
    if (it == functions_.end()) return std::optional<hcl::Function>();
    return UserFunction(name, *it->second);
  }

  std::vector<std::string> Names() const override {
    std::vector<std::string> names;
    for (const auto& [name, variable] : variables_) names.push_back(name);
    for (const auto& [name, attribute] : attributes_) names.push_back(name);
    return names;
  }
  std::vector<std::string> FunctionNames() const override {
    std::vector<std::string> names;
    for (const auto& [name, function] : hcl::StandardFunctions()) names.push_back(name);
    for (const auto& [name, block] : functions_) names.push_back(name);
    return names;
  }

 private:
  // --- what there is

  Status Collect() {
    static const Strings types = {"target", "group", "variable", "function"};
    for (const hcl::Body& body : bodies_) {
      for (const Block& block : body.blocks) {
        if (std::ranges::find(types, block.type) == types.end()) {
          PassOver(block.header, "block", block.type, DidYouMean(block.type, types));
          continue;
        }
        if (block.labels.size() != 1) {
          return ErrorAt(block.header,
                         block.labels.empty() ? "Missing name for " + block.type : "Extraneous label for " + block.type,
                         block.labels.empty() ? fmt::format("All {} blocks must have 1 labels (name).", block.type)
                                              : "Only 1 labels (name) are expected for " + block.type + " blocks.");
        }
        if (block.type == "variable") variables_[block.labels[0]] = &block;
        if (block.type == "function") functions_[block.labels[0]] = &block;
        if (block.type == "target" || block.type == "group") {
          if (Status good = CheckName(block.labels[0]); !good)
            return ErrorAt(block.label_ranges[0], "Invalid name", good.error().message);
          blocks_.push_back(&block);
        }
      }
      for (const Attribute& attribute : body.attributes) {
        if (std::ranges::find(types, attribute.name) != types.end()) {
          return ErrorAt(attribute.range, "Invalid attribute",
                         fmt::format("\"{}\" is a block: write {} \"name\" {{ … }}.", attribute.name, attribute.name));
        }
        attributes_.emplace(attribute.name, &attribute);  // the first file's stays
      }
    }
    return Ok();
  }

  // As Buildx, which says nothing, does with what it does not know, except in functions.
  void PassOver(const hcl::Range& range, std::string_view kind, std::string_view name, std::string_view hint) {
    out_.warnings.push_back(
        fmt::format("{}: the {} \"{}\" is not known, and is passed over.{}", range.ToString(), kind, name, hint));
  }

  static bool Has(const Strings& names, const std::string& name) {
    return std::ranges::find(names, name) != names.end();
  }

  void CheckBody(const Block& block, const Strings& attributes, const Strings& blocks = {}) {
    for (const Attribute& attribute : block.body.attributes) {
      if (Has(attributes, attribute.name)) continue;
      PassOver(attribute.name_range, "argument", attribute.name, DidYouMean(attribute.name, attributes));
    }
    for (const Block& inner : block.body.blocks) {
      if (Has(blocks, inner.type)) continue;
      PassOver(inner.header, "block", inner.type,
               Has(attributes, inner.type) ? " Did you mean an argument? Then an equals sign assigns its value." : "");
    }
  }

  static Status CheckFunction(const Block& block) {
    static const Strings attributes = {"params", "variadic_params", "result"};
    for (const Attribute& attribute : block.body.attributes) {
      if (Has(attributes, attribute.name)) continue;
      return ErrorAt(attribute.name_range, "Unsupported argument",
                     fmt::format("An argument named \"{}\" is not expected here.{}", attribute.name,
                                 DidYouMean(attribute.name, attributes)));
    }
    for (const Block& inner : block.body.blocks) {
      bool argument = Has(attributes, inner.type);
      return ErrorAt(inner.header, "Unsupported block type",
                     argument ? fmt::format("Blocks of type \"{0}\" are not expected here. Did you mean to define "
                                            "argument \"{0}\"? If so, use the equals sign to assign it a value.",
                                            inner.type)
                              : fmt::format("Blocks of type \"{}\" are not expected here.", inner.type));
    }
    return Ok();
  }

  // --- variables

  // Marks a name as being worked out, for as long as it lives.
  class Working {
   public:
    Working(std::set<std::string>& names, std::string name) : names_(names), name_(std::move(name)) {
      fresh_ = names_.insert(name_).second;
    }
    ~Working() {
      if (fresh_) names_.erase(name_);
    }
    Working(const Working&) = delete;
    Working& operator=(const Working&) = delete;
    bool fresh() const { return fresh_; }

   private:
    std::set<std::string>& names_;
    std::string name_;
    bool fresh_;
  };

  std::optional<std::string> FromEnvironment(const std::string& name) const {
    for (const auto* map : {&options_.variables, &options_.environment}) {
      if (auto it = map->find(name); it != map->end()) return it->second;
    }
    return std::nullopt;
  }

  std::optional<Given> GivenFor(const std::string& name, bool typed) const {
    std::optional<Given> given;
    if (auto text = FromEnvironment(name)) given = Given{*text};
    std::string json = name + "_JSON";
    bool taken = variables_.contains(json) || options_.built_in.contains(json);
    if ((!given || typed) && !taken) {
      if (auto text = FromEnvironment(json)) given = Given{*text, true};
    }
    return given;
  }

  Result<std::optional<Type>> DeclaredType(const Block& block) const {
    const Attribute* type = block.body.Find("type");
    if (type == nullptr || (type->value->kind == Expression::Kind::kLiteral && type->value->value.is_null()))
      return std::optional<Type>();
    TRY_ASSIGN(Type declared, hcl::TypeOf(*type->value));
    return declared;
  }

  Result<Value> VariableOf(const std::string& name, const Block& block) {
    Working working(working_, "variable " + name);
    if (!working.fresh()) return NotFound("variable cycle not allowed for {}", name);
    CheckBody(block, {"type", "default", "description"}, {"validation"});
    TRY_ASSIGN(auto type, DeclaredType(block));
    std::optional<Value> fallback;
    if (const Attribute* written = block.body.Find("default")) {
      TRY_ASSIGN(Value value, hcl::Evaluate(*written->value, *this));
      if (type) {
        auto converted = hcl::Convert(value, *type);
        if (!converted)
          return ErrorAt(written->value->range, "Invalid value",
                         fmt::format("invalid type {} for variable {} default value: {}", type->Name(), name,
                                     converted.error().message));
        value = std::move(*converted);
      }
      fallback = std::move(value);
    }
    auto value = VariableValue(name, type, fallback, GivenFor(name, type.has_value()));
    if (!value) {
      Error error = ErrorAt(block.header, "Invalid value", value.error().message);
      error.hint = value.error().hint;
      return error;
    }
    values_[name] = *value;
    return value;
  }

  Result<std::string> TextOf(const Block& block, const char* attribute) const {
    const Attribute* written = block.body.Find(attribute);
    if (written == nullptr) return std::string();
    TRY_ASSIGN(Value value, hcl::Evaluate(*written->value, *this));
    TRY_ASSIGN(Value text, ConvertAt(value, Type::String(), *written));
    return text.is_null() ? "" : text.as_string();
  }

  Status ReadVariables() {
    for (const auto& [name, block] : variables_) {
      if (options_.built_in.contains(name)) continue;
      TRY_ASSIGN(auto found, Find(name, {}));
      TRY_ASSIGN(auto type, DeclaredType(*block));
      Variable variable{.name = name, .type = ShownType(type)};
      TRY_ASSIGN(variable.description, TextOf(*block, "description"));
      variable.value = ShownValue(found->value, type);
      out_.variables.push_back(std::move(variable));
    }
    for (const auto& [name, block] : variables_) {
      for (const Block& validation : block->body.blocks) TRY(Validate(validation));
    }
    return Ok();
  }

  Status Validate(const Block& validation) {
    CheckBody(validation, {"condition", "error_message"});
    const Attribute *condition = validation.body.Find("condition"), *message = validation.body.Find("error_message");
    if (condition == nullptr || message == nullptr) {
      return ErrorAt(validation.header, "Missing required argument",
                     fmt::format("The argument \"{}\" is required, but no definition was found.",
                                 condition == nullptr ? "condition" : "error_message"));
    }
    TRY_ASSIGN(Value value, hcl::Evaluate(*condition->value, *this));
    auto holds = hcl::Convert(value, Type::Bool());
    if (value.is_null() || !holds)
      return ErrorAt(condition->value->range, "Invalid condition result",
                     "Condition expression must return either true or false, not null.");
    if (holds->as_bool()) return Ok();
    TRY_ASSIGN(std::string text, TextOf(validation, "error_message"));
    return ErrorAt(condition->range, "Validation failed", text);
  }

  Result<Value> FreeAttribute(const std::string& name, const Attribute& attribute) {
    if (auto it = values_.find(name); it != values_.end()) return it->second;
    Working working(working_, "variable " + name);
    if (!working.fresh()) return NotFound("variable cycle not allowed for {}", name);
    TRY_ASSIGN(Value value, hcl::Evaluate(*attribute.value, *this));
    values_[name] = value;
    return value;
  }

  // --- functions

  Result<std::optional<hcl::Function>> UserFunction(const std::string& name, const Block& block) const {
    TRY(CheckFunction(block));
    const Attribute *params = block.body.Find("params"), *rest = block.body.Find("variadic_params"),
                    *result = block.body.Find("result");
    if (params == nullptr || result == nullptr) {
      return ErrorAt(block.header, "Missing required argument",
                     fmt::format("The argument \"{}\" is required, but no definition was found.",
                                 params == nullptr ? "params" : "result"));
    }
    TRY_ASSIGN(auto list, hcl::ListOf(*params->value));
    Strings names;
    auto add = [&](const Expression& expression) -> Status {
      auto keyword = hcl::Keyword(expression);
      if (!keyword)
        return ErrorAt(expression.range, "Invalid param element", "Each parameter name must be an identifier.");
      names.push_back(*keyword);
      return Ok();
    };
    for (const auto& expression : list) TRY(add(*expression));
    const size_t fixed = names.size();
    if (rest != nullptr) TRY(add(*rest->value));
    hcl::Function function{.least = fixed, .most = rest != nullptr ? SIZE_MAX : fixed, .call = {}, .takes_nulls = true};
    function.call = [this, name, names, fixed, result](const std::vector<Value>& arguments) -> Result<Value> {
      Working working(const_cast<Reader*>(this)->working_, "function " + name);
      if (!working.fresh()) return Invalid("function cycle not allowed for {}", name);
      std::map<std::string, Value> values;
      for (size_t i = 0; i < fixed; ++i) values[names[i]] = arguments[i];
      if (names.size() > fixed)
        values[names[fixed]] = Value::Tuple({arguments.begin() + static_cast<ptrdiff_t>(fixed), arguments.end()});
      return hcl::Evaluate(*result->value, hcl::InnerScope(*this, std::move(values)));
    };
    return function;
  }

  // --- blocks

  Status NameBlocks() {
    for (const Block* block : blocks_) {
      const Attribute *matrix = block->body.Find("matrix"), *name = block->body.Find("name");
      if (block->type == "group") {
        if (matrix != nullptr) return ErrorAt(matrix->range, "Invalid block", "matrix is not supported for groups");
        if (name != nullptr) return ErrorAt(name->range, "Invalid block", "name is not supported for groups");
      }
      if (matrix == nullptr) {
        if (name != nullptr) return ErrorAt(name->range, "Invalid name", "name requires matrix");
        Add({block, block->labels[0], {}});
        continue;
      }
      TRY_ASSIGN(auto rows, MatrixOf(*matrix));
      std::set<std::string> seen;
      Strings& generated = matrix_groups_[block->labels[0]];
      for (auto& row : rows) {
        Instance instance{block, block->labels[0], std::move(row)};
        if (name != nullptr) {
          TRY_ASSIGN(Value value, hcl::Evaluate(*name->value, hcl::InnerScope(*this, instance.matrix)));
          TRY_ASSIGN(Value text, ConvertAt(value, Type::String(), *name));
          if (text.is_null()) return ErrorAt(name->value->range, "Invalid name", "the name is null");
          instance.name = text.as_string();
          if (Status good = CheckName(instance.name); !good)
            return ErrorAt(name->value->range, "Invalid name", good.error().message);
        }
        if (!seen.insert(instance.name).second)
          return ErrorAt(block->label_ranges[0], "Invalid name",
                         "duplicate matrix block names " + DuplicateHint(*block, name));
        generated.push_back(instance.name);
        Add(std::move(instance));
      }
    }
    return Ok();
  }

  static std::string DuplicateHint(const Block& block, const Attribute* name) {
    return fmt::format("of target \"{}\"{}", block.labels[0],
                       name == nullptr ? ": a matrix of more than one element needs a name attribute" : "");
  }

  // All combinations; the keys in order, the last one the slowest.
  Result<std::vector<std::map<std::string, Value>>> MatrixOf(const Attribute& matrix) {
    TRY_ASSIGN(Value value, hcl::Evaluate(*matrix.value, *this));
    if (!value.is_mapping()) return ErrorAt(matrix.value->range, "Invalid matrix", "matrix must be a map");
    std::vector<std::map<std::string, Value>> rows{{}};
    for (const auto& [key, list] : value.members()) {
      if (!list.is_sequence() && !list.is_mapping())
        return ErrorAt(matrix.value->range, "Invalid matrix", "matrix values must be a list");
      Value::Items items;
      if (list.is_sequence()) items = list.items();
      else
        for (const auto& [name, member] : list.members()) items.push_back(member);
      std::vector<std::map<std::string, Value>> longer;
      if (rows.size() * items.size() > 10'000)
        return ErrorAt(matrix.value->range, "Invalid matrix", "the matrix has more than 10000 elements");
      for (const Value& item : items) {
        for (const auto& row : rows) {
          longer.push_back(row);
          longer.back()[key] = item;
        }
      }
      rows = std::move(longer);
    }
    return rows;
  }

  void Add(Instance instance) {
    instances_.push_back(std::move(instance));
    by_name_[instances_.back().block->type][instances_.back().name].push_back(&instances_.back());
  }

  // One attribute of one block, converted; remembered.
  Result<Value> AttributeOf(const Instance& instance, const Attribute& attribute) {
    auto [at, fresh] = evaluated_.try_emplace({&instance, attribute.name});
    if (!fresh && at->second) return *at->second;
    Working working(working_, fmt::format("{}.{}.{} {}", instance.block->type, instance.name, attribute.name,
                                          static_cast<const void*>(instance.block)));
    if (!working.fresh())
      return NotFound("reference cycle not allowed for {}.{}.{}", instance.block->type, instance.name, attribute.name);
    TRY_ASSIGN(Value value, hcl::Evaluate(*attribute.value, hcl::InnerScope(*this, instance.matrix)));
    TRY_ASSIGN(value, ConvertAt(value, TypeOfAttribute(attribute.name), attribute));
    if (auto kind = EntryKindOf(attribute.name); kind && !value.is_null()) {
      TRY_ASSIGN(Entries entries, EntriesOf(*kind, value, attribute));
      value = EntriesValue(*kind, entries);
    }
    evaluated_[{&instance, attribute.name}] = value;
    return value;
  }

  Result<std::optional<Found>> FindBlock(const std::string& type, std::span<const std::string> steps) const {
    if (steps.empty()) return Invalid("cannot access {} as a variable", type);
    auto named = by_name_.find(type);
    auto found = named == by_name_.end() ? decltype(named->second.find(""))() : named->second.find(steps[0]);
    if (named == by_name_.end() || found == named->second.end()) {
      Strings names;
      if (named != by_name_.end())
        for (const auto& [name, all] : named->second) names.push_back(name);
      return NotFound("there is no {} named \"{}\".{}", type, steps[0], DidYouMean(steps[0], names));
    }
    auto* self = const_cast<Reader*>(this);
    if (steps.size() == 1) {
      Value::Members members;
      for (const Instance* instance : found->second) {
        for (const Attribute& attribute : instance->block->body.attributes) {
          if (attribute.name == "matrix") continue;
          TRY_ASSIGN(members[attribute.name], self->AttributeOf(*instance, attribute));
        }
      }
      return Found{Value::Object(std::move(members)), 1};
    }
    for (auto it = found->second.rbegin(); it != found->second.rend(); ++it) {
      if (const Attribute* attribute = (*it)->block->body.Find(steps[1])) {
        TRY_ASSIGN(Value value, self->AttributeOf(**it, *attribute));
        return Found{std::move(value), 2};
      }
    }
    if (steps[1] == "name") return Found{Value(steps[0]), 2};
    const Strings& known = TargetAttributes();
    static const Strings group = {"description", "targets"};
    const Strings& all = type == "group" ? group : known;
    if (std::ranges::find(all, steps[1]) == all.end())
      return NotFound("a {} has no attribute \"{}\".{}", type, steps[1], DidYouMean(steps[1], all));
    return Found{Value::Null(TypeOfAttribute(steps[1])), 2};
  }

  // --- targets and groups

  Status ReadGroup(const Instance& instance) {
    CheckBody(*instance.block, {"targets", "description"});
    Group group{.name = instance.name};
    TRY_ASSIGN(group.description, TextOf(*instance.block, "description"));
    const Attribute* targets = instance.block->body.Find("targets");
    if (targets == nullptr) {
      return ErrorAt(instance.block->body.end, "Missing required argument",
                     "The argument \"targets\" is required, but no definition was found.");
    }
    TRY_ASSIGN(Value value, AttributeOf(instance, *targets));
    if (!value.is_null()) {
      TRY_ASSIGN(group.targets, StringsOf(value, *targets));
    }
    // A later one of that name takes its place.
    auto same = std::ranges::find(out_.groups, group.name, &Group::name);
    if (same == out_.groups.end()) {
      out_.groups.push_back(std::move(group));
    } else {
      *same = std::move(group);
    }
    return Ok();
  }

  Status ReadTarget(const Instance& instance) {
    CheckBody(*instance.block, TargetAttributes());
    Target target{.name = instance.name};
    for (const Attribute& attribute : instance.block->body.attributes) {
      if (attribute.name == "matrix" || attribute.name == "name" || !Has(TargetAttributes(), attribute.name)) continue;
      TRY_ASSIGN(Value value, AttributeOf(instance, attribute));
      if (!value.is_null()) TRY(SetAttribute(target, attribute, value));
    }
    if (options_.file_relative_paths) SetBases(instance, target);
    auto same = std::ranges::find(out_.targets, target.name, &Target::name);
    if (same == out_.targets.end()) {
      out_.targets.push_back(std::move(target));
    } else {
      same->Merge(target);
    }
    return Ok();
  }

  static void SetBases(const Instance& instance, Target& target) {
    const std::string& file = instance.block->header.source->name;
    if (file == "-" || file.find("://") != file.npos) return;
    size_t slash = file.rfind('/');
    std::string base = slash == file.npos ? "." : file.substr(0, slash);
    target.context_base = base;
    for (const auto& [name, value] : target.contexts) target.contexts_base[name] = base;
  }

  // The block's own name stands for all of its targets.
  void AddMatrixGroups() {
    for (const auto& [label, names] : matrix_groups_) {
      if (names == Strings{label}) continue;
      if (out_.FindGroup(label) == nullptr) out_.groups.push_back({.name = label, .description = {}, .targets = names});
    }
  }

  const std::vector<hcl::Body>& bodies_;
  const ReadOptions& options_;
  Definition& out_;
  std::map<std::string, const Block*> variables_, functions_;
  std::map<std::string, const Attribute*> attributes_;
  std::vector<const Block*> blocks_;
  std::list<Instance> instances_;
  std::map<std::string, std::map<std::string, std::vector<const Instance*>>> by_name_;
  std::map<std::string, Strings> matrix_groups_;
  std::map<std::string, Value> values_;
  std::map<std::pair<const Instance*, std::string>, std::optional<Value>> evaluated_;
  std::set<std::string> working_;
};

}  // namespace

Status ReadBodies(const std::vector<hcl::Body>& bodies, const ReadOptions& options, Definition& out) {
  return Reader(bodies, options, out).Run();
}

}  // namespace varve::bake
