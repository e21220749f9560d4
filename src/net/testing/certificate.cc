#include "net/testing/certificate.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <memory>

#include "base/result.h"

namespace varve::net::testing {

namespace {

template <auto Function>
struct Free {
  template <class T>
  void operator()(T* value) const {
    Function(value);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;

void AddExtension(X509* certificate, X509* issuer, int nid, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
  CHECK(extension != nullptr);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

Certificate Make(EVP_PKEY* key, const char* name, const char* usage, X509* issuer, EVP_PKEY* issuer_key) {
  Certificate certificate(X509_new());
  X509* raw = certificate.get();
  X509_set_version(raw, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(raw), issuer == nullptr ? 1 : 2);
  X509_gmtime_adj(X509_getm_notBefore(raw), -3600);
  X509_gmtime_adj(X509_getm_notAfter(raw), 24 * 3600);
  X509_set_pubkey(raw, key);
  X509_NAME* subject = X509_get_subject_name(raw);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  X509_set_issuer_name(raw, issuer == nullptr ? subject : X509_get_subject_name(issuer));
  X509* signer = issuer == nullptr ? raw : issuer;
  if (issuer == nullptr) {
    AddExtension(raw, signer, NID_basic_constraints, "critical,CA:TRUE");
    AddExtension(raw, signer, NID_key_usage, "critical,keyCertSign,cRLSign");
  } else {
    AddExtension(raw, signer, NID_subject_alt_name, "IP:127.0.0.1");
    AddExtension(raw, signer, NID_ext_key_usage, usage);
  }
  CHECK(X509_sign(raw, issuer_key, EVP_sha256()) > 0);
  return certificate;
}

template <class Function>
void WritePem(const std::string& path, Function function) {
  FILE* file = std::fopen(path.c_str(), "w");
  CHECK(file != nullptr);
  CHECK(function(file) == 1);
  std::fclose(file);
}

}  // namespace

TestCertificates MakeCertificates(const std::string& directory) {
  TestCertificates files{.ca_file = directory + "/ca.pem",
                         .certificate_file = directory + "/server.pem",
                         .key_file = directory + "/server.key",
                         .client_certificate_file = directory + "/client.pem",
                         .client_key_file = directory + "/client.key"};
  Key ca_key(EVP_EC_gen("P-256"));
  Certificate ca = Make(ca_key.get(), "varve test CA", nullptr, nullptr, ca_key.get());
  WritePem(files.ca_file, [&](FILE* f) { return PEM_write_X509(f, ca.get()); });
  auto issue = [&](const char* name, const char* usage, const std::string& certificate_file,
                   const std::string& key_file) {
    Key key(EVP_EC_gen("P-256"));
    Certificate certificate = Make(key.get(), name, usage, ca.get(), ca_key.get());
    WritePem(certificate_file, [&](FILE* f) { return PEM_write_X509(f, certificate.get()); });
    WritePem(key_file,
             [&](FILE* f) { return PEM_write_PrivateKey(f, key.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  };
  issue("varve test server", "serverAuth", files.certificate_file, files.key_file);
  issue("varve test client", "clientAuth", files.client_certificate_file, files.client_key_file);
  return files;
}

}  // namespace varve::net::testing
