// Addresses and prefixes, IPv4 and IPv6 (go-cty-funcs cidr).
#include <arpa/inet.h>

#include "base/strings.h"
#include "hcl/function_table.h"

namespace varve::hcl {

namespace {

__extension__ using Bits = unsigned __int128;

struct Prefix {
  Bits network = 0;  // right-aligned
  int length = 0;    // of the prefix
  int bits = 32;     // of an address

  Bits HostMask() const { return bits - length >= 128 ? ~Bits{0} : (Bits{1} << (bits - length)) - 1; }
};

std::string AddressText(Bits address, int bits) {
  unsigned char bytes[16];
  int count = bits / 8;
  for (int i = 0; i < count; ++i) bytes[i] = static_cast<unsigned char>(address >> (bits - 8 * (i + 1)));
  char text[INET6_ADDRSTRLEN];
  inet_ntop(bits == 32 ? AF_INET : AF_INET6, bytes, text, sizeof text);
  return text;
}

Result<Prefix> ParsePrefix(const std::string& text) {
  Prefix prefix;
  size_t slash = text.find('/');
  const int64_t length = slash == text.npos ? -1 : ParseInt(std::string_view(text).substr(slash + 1)).value_or(-1);
  std::string address = text.substr(0, slash);
  unsigned char bytes[16];
  prefix.bits = address.find(':') == address.npos ? 32 : 128;
  bool good = inet_pton(prefix.bits == 32 ? AF_INET : AF_INET6, address.c_str(), bytes) == 1;
  if (!good || length < 0 || length > prefix.bits)
    return Invalid("invalid CIDR expression: invalid CIDR address: {}", text);
  for (int i = 0; i < prefix.bits / 8; ++i) prefix.network = prefix.network << 8 | bytes[i];
  prefix.length = static_cast<int>(length);
  prefix.network &= ~prefix.HostMask();
  return prefix;
}

std::string PrefixText(const Prefix& prefix) {
  return fmt::format("{}/{}", AddressText(prefix.network, prefix.bits), prefix.length);
}

Result<Value> Host(const Arguments& a) {
  TRY_ASSIGN(Prefix prefix, ParsePrefix(a[0].as_string()));
  TRY_ASSIGN(int64_t number, WholeNumber(a[1], "the host number"));
  Bits size = prefix.HostMask();  // the last host's number
  Bits magnitude = static_cast<Bits>(number < 0 ? -(number + 1) : number);
  if (magnitude > size) return Invalid("prefix of {} does not accommodate a host numbered {}", prefix.length, number);
  return Value(AddressText(prefix.network | (number < 0 ? size - magnitude : magnitude), prefix.bits));
}

Result<Value> Netmask(const Arguments& a) {
  TRY_ASSIGN(Prefix prefix, ParsePrefix(a[0].as_string()));
  if (prefix.bits != 32) return Invalid("IPv6 addresses cannot have a netmask: {}", a[0].as_string());
  return Value(AddressText(~prefix.HostMask() & 0xffffffff, 32));
}

Result<Value> Subnet(const Arguments& a) {
  TRY_ASSIGN(Prefix prefix, ParsePrefix(a[0].as_string()));
  TRY_ASSIGN(int64_t added, WholeNumber(a[1], "newbits"));
  TRY_ASSIGN(int64_t number, WholeNumber(a[2], "netnum"));
  if (added < 0 || prefix.length + added > prefix.bits)
    return Invalid("insufficient address space to extend prefix of {} by {}", prefix.length, added);
  if (number < 0 || (added < 63 && number >= int64_t{1} << added))
    return Invalid("prefix extension of {} does not accommodate a subnet numbered {}", added, number);
  prefix.length += static_cast<int>(added);
  if (prefix.length > 0) prefix.network |= static_cast<Bits>(number) << (prefix.bits - prefix.length);
  return Value(PrefixText(prefix));
}

// One after the other, each at the next place that fits its size.
Result<Value> Subnets(const Arguments& a) {
  TRY_ASSIGN(Prefix whole, ParsePrefix(a[0].as_string()));
  std::vector<std::string> out;
  Bits next = 0;  // from the network's start
  bool full = false;
  for (size_t i = 1; i < a.size(); ++i) {
    TRY_ASSIGN(int64_t added, WholeNumber(a[i], "the number of additional bits"));
    if (added < 1) return Invalid("must extend prefix by at least one bit");
    if (added > 32) return Invalid("may not extend prefix by more than 32 bits");
    if (whole.length + added > whole.bits)
      return Invalid("would extend prefix to {} bits, which is too long for an address of {} bits",
                     whole.length + added, whole.bits);
    Prefix subnet = whole;
    subnet.length += static_cast<int>(added);
    Bits mask = subnet.HostMask();
    next = (next + mask) & ~mask;
    if (full || next > whole.HostMask())
      return Invalid("not enough remaining address space for a subnet with a prefix of {} bits", subnet.length);
    subnet.network |= next;
    full = next + mask >= whole.HostMask();
    next += mask + 1;
    out.push_back(PrefixText(subnet));
  }
  return Value::Strings(out);
}

}  // namespace

void AddNetworkFunctions(FunctionTable& table) {
  const Type text = Type::String(), number = Type::Number();
  Define(table, "cidrhost", {{text, number}}, Host);
  Define(table, "cidrnetmask", {{text}}, Netmask);
  Define(table, "cidrsubnet", {{text, number, number}}, Subnet);
  Define(table, "cidrsubnets", {{text}, number}, Subnets);
}

}  // namespace varve::hcl
