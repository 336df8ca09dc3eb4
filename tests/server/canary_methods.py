"""Every method of the generated code, by the name that calls give."""

import importlib
import pkgutil

from google.protobuf.descriptor import MethodDescriptor

import coterie.v1

_FILES = [
    importlib.import_module(f"coterie.v1.{module.name}").DESCRIPTOR
    for module in pkgutil.iter_modules(coterie.v1.__path__)
    if module.name.endswith("_service_pb2")
]

METHODS_BY_NAME: dict[str, MethodDescriptor] = {
    f"/{service.full_name}/{method.name}": method
    for file in _FILES
    for service in file.services_by_name.values()
    for method in service.methods
}
