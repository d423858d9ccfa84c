"""Nothing that CustomIR is installed with has a licence that would bind those who pass it on."""

import re
from importlib import metadata

from packaging.requirements import Requirement

EXTRAS = {"adapt", "formats", "serve"}
# Weak copyleft: these are used as they are, as packages of their own, which their licences allow.
WEAK_COPYLEFT = {
    "certifi": "MPL",
    "faust-cchardet": "MPL",
    "libpff-python": "LGPL",
    "orjson": "MPL",
    "tnefparse": "LGPL|Lesser General Public License",
    "tqdm": "MPL",
}
PERMISSIVE = re.compile(r"MIT|BSD|Apache|PSF|Python Software Foundation|HPND|any-OSI|ISC|Zlib")
COPYLEFT = re.compile(r"GPL|MPL|EPL|General Public|Mozilla|SSPL|Commons Clause|Proprietary|BUSL")


def installed_with(name: str, extras: set[str]) -> dict[str, metadata.Distribution]:
    """The packages that these extras bring on this platform, by normalised name."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [(name, extras)]
    looked_at: set[tuple[str, str]] = set()
    while waiting:
        current, wanted = waiting.pop()
        try:
            package = metadata.distribution(current)
        except metadata.PackageNotFoundError:
            continue  # for another platform, or of an extra that is not installed
        found[re.sub(r"[-_.]+", "-", current).lower()] = package
        for text in package.requires or ():
            requirement = Requirement(text)
            needed = requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in wanted | {""}
            )
            if needed and (current, text) not in looked_at:
                looked_at.add((current, text))
                waiting.append((requirement.name, set(requirement.extras)))
    return found


def licence_of(package: metadata.Distribution) -> str:
    about = package.metadata
    classifiers = [each for each in about.get_all("Classifier") or () if each.startswith("License")]
    text = about.get("License", "").partition("\n")[0]
    return about.get("License-Expression") or "; ".join(classifiers) or text


def test_licences_are_known_and_permissive_or_listed() -> None:
    packages = installed_with("customir", EXTRAS)
    assert len(packages) > 50, "the dependencies were not found"
    for name, package in packages.items():
        licence = licence_of(package)
        if name in WEAK_COPYLEFT:
            assert re.search(WEAK_COPYLEFT[name], licence), f"{name}: {licence}"
            continue
        assert PERMISSIVE.search(licence), f"{name}: {licence or 'no licence is stated'}"
        assert not COPYLEFT.search(licence), f"{name}: {licence}"
