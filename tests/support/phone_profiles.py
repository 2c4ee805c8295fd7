"""What phones answer: profiles written after the formats that such phones print.

None was recorded from a real phone; the formats are those that Android's sources print.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Profile:
    """One kind of phone.

    Parameters
    ----------
    name, model, soc, android : str
        As its properties say.
    clusters : tuple of (cores, largest clock in kHz)
        Each with its number of cores, in the order of their numbers.
    thermals : str or None
        What ``dumpsys thermalservice`` prints; none before Android 10.
    abi : str
        Of the phone; ``x86_64`` here, so that the runner built for this computer runs on it.
    more : mapping of str to str
        Other files of the root folder.
    """

    name: str
    model: str
    soc: str
    android: str
    sdk: int
    clusters: tuple[tuple[int, int], ...]
    thermals: str | None
    serial: str = "0A1B2C3D4E5F"
    maker: str = "Google"
    abi: str = "x86_64"
    more: dict[str, str] = field(default_factory=dict)

    def answers(self):
        """Files of the phone's root folder by their paths."""
        files = {"answers/getprop": self._properties(), "answers/dumpsys.battery": BATTERY}
        files["answers/dumpsys.power"] = POWER
        if self.thermals is not None:
            files["answers/dumpsys.thermalservice"] = self.thermals
        if self.sdk < 30:
            files["answers/no-fixed-performance-mode"] = ""
        first = 0
        for cores, clock in self.clusters:
            numbers = range(first, first + cores)
            for core in numbers:
                folder = f"sys/devices/system/cpu/cpu{core}/cpufreq"
                files[f"{folder}/related_cpus"] = " ".join(map(str, numbers)) + "\n"
                files[f"{folder}/cpuinfo_max_freq"] = f"{clock}\n"
                files[f"{folder}/scaling_max_freq"] = f"{clock}\n"
                files[f"{folder}/scaling_cur_freq"] = f"{clock}\n"
                files[f"{folder}/scaling_governor"] = "schedutil\n"
            first += cores
        files["sys/devices/system/cpu/present"] = f"0-{first - 1}\n"
        return files | self.more

    def _properties(self):
        values = {
            "ro.build.fingerprint": (
                f"{self.maker.lower()}/{self.name}/{self.name}:{self.android}/TEST.1/1:user/release-keys"
            ),
            "ro.build.version.release": self.android,
            "ro.build.version.sdk": str(self.sdk),
            "ro.hardware": self.soc.lower(),
            "ro.product.cpu.abi": self.abi,
            "ro.product.cpu.abilist": self.abi,
            "ro.product.manufacturer": self.maker,
            "ro.product.model": self.model,
            "ro.serialno": self.serial,
            "sys.boot_completed": "1",
        }
        if self.sdk >= 31:
            values |= {"ro.soc.model": self.soc, "ro.soc.manufacturer": self.maker}
        else:
            values |= {"ro.board.platform": self.soc}
        return "".join(f"[{name}]: [{value}]\n" for name, value in sorted(values.items()))


BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 500000
  Max charging voltage: 5000000
  Charge counter: 2500000
  status: 2
  health: 2
  present: true
  level: 87
  scale: 100
  voltage: 4200
  temperature: 291
  technology: Li-ion
"""

POWER = """POWER MANAGER (dumpsys power)

Power Manager State:
  mDirty=0x0
  mWakefulness=Awake
  mWakefulnessChanging=false
  mIsPowered=true
  mPlugType=2
  mStayOn=false
"""


def _temperature(value, kind, name, status=0):
    return f"Temperature{{mValue={value}, mType={kind}, mName={name}, mStatus={status}}}"


def _thermals(sensors, *, status=0, cached=(), thresholds=(), headroom=False, ready=True):
    """The page of Android's ThermalManagerService."""
    lines = ["IsStatusOverride: false", "ThermalEventListeners:", "\tcallbacks: 2"]
    lines += ["ThermalStatusListeners:", "\tcallbacks: 1", f"Thermal Status: {status}"]
    lines += ["Cached temperatures:", *(f"\t{_temperature(*sensor)}" for sensor in cached)]
    lines += [
        f"HAL Ready: {str(ready).lower()}",
        "HAL connection:",
        "\tThermalHAL 2.0 connected: yes",
    ]
    lines += ["Current temperatures from HAL:"]
    lines += [f"\t{_temperature(*sensor)}" for sensor in sensors]
    lines += ["Current cooling devices from HAL:"]
    lines += ["\tCoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}"]
    if thresholds:
        lines += ["Temperature static thresholds from HAL:"]
        lines += [
            f"\tTemperatureThreshold{{mType={kind}, mName={name},"
            f" mHotThrottlingThresholds={hot}, mColdThrottlingThresholds="
            "[NaN, NaN, NaN, NaN, NaN, NaN, NaN]}"
            for kind, name, hot in thresholds
        ]
    if headroom:
        lines += ["Temperature headroom thresholds:", "[NaN, NaN, NaN, 1.0, NaN, NaN, NaN]"]
    return "\n".join(lines) + "\n"


_SKIN_LIMITS = "[NaN, 39.0, 43.0, 45.0, 46.5, 52.0, 55.0]"

PROFILES = {
    profile.name: profile
    for profile in (
        Profile("pixel-1", "Pixel", "msm8996", "9", 28, ((2, 1593600), (2, 2150400)), None),
        Profile(
            "pixel-3a",
            "Pixel 3a",
            "sdm670",
            "12",
            32,
            ((6, 1708800), (2, 1996800)),
            _thermals(
                [
                    ("31.6", 3, "quiet_therm"),
                    ("34.0", 0, "cpu0-silver-usr"),
                    ("30.2", 2, "battery"),
                ],
                cached=[("37.0", 3, "quiet_therm")],
            ),
        ),
        Profile(  # of as many cores as any computer has that tests run on
            "two-cores",
            "Pixel 0",
            "TestSoC",
            "14",
            34,
            ((1, 1803000), (1, 2802000)),
            _thermals(
                [("33.4", 3, "VIRTUAL-SKIN"), ("48.0", 0, "BIG"), ("29.1", 2, "battery")],
                thresholds=[(3, "VIRTUAL-SKIN", _SKIN_LIMITS)],
            ),
        ),
        Profile(
            "pixel-4",
            "Pixel 4",
            "sm8150",
            "13",
            33,
            ((4, 1785600), (3, 2419200), (1, 2841600)),
            _thermals(
                [
                    ("29.5", 3, "skin-therm-monitor"),
                    ("33.1", 0, "cpu-1-0"),
                    ("28.9", 2, "battery"),
                    ("4210.0", 6, "vbat"),
                    ("873.0", 7, "ibat"),
                ],
                cached=[("28.0", 3, "skin-therm-monitor")],
                thresholds=[(3, "skin-therm-monitor", _SKIN_LIMITS)],
            ),
        ),
        Profile(
            "pixel-6",
            "Pixel 6",
            "Tensor",
            "14",
            34,
            ((4, 1803000), (2, 2253000), (2, 2802000)),
            _thermals(
                [
                    ("33.4", 3, "VIRTUAL-SKIN"),
                    ("66.5", 0, "BIG"),
                    ("48.0", 0, "LITTLE"),
                    ("29.1", 2, "battery"),
                    ("11900.0", 7, "ocp_cpu2"),
                    ("0.0", -1, "vdroop1"),
                ],
                cached=[("37.0", 0, "BIG"), ("30.0", 3, "VIRTUAL-SKIN")],
                thresholds=[(3, "VIRTUAL-SKIN", _SKIN_LIMITS)],
            ),
        ),
        Profile(
            "pixel-8",
            "Pixel 8",
            "Tensor G3",
            "15",
            35,
            ((4, 1704000), (4, 2367000), (1, 2914000)),
            _thermals(
                [("32.0", 3, "VIRTUAL-SKIN"), ("41.0", 0, "BIG"), ("28.0", 2, "battery")],
                thresholds=[(3, "VIRTUAL-SKIN", _SKIN_LIMITS)],
                headroom=True,
            ),
        ),
        Profile(
            "fold",
            "Pixel Fold",
            "Tensor G2",
            "14",
            34,
            ((4, 1803000), (2, 2348000), (2, 2850000)),
            _thermals(
                [
                    ("30.0", 3, "VIRTUAL-SKIN"),
                    ("31.5", 3, "VIRTUAL-SKIN-INNER"),
                    ("40.0", 0, "BIG"),
                    ("28.0", 2, "battery"),
                ],
                thresholds=[(3, "VIRTUAL-SKIN", _SKIN_LIMITS)],
            ),
        ),
        Profile(
            "samsung",
            "SM-S911B",
            "SM8550",
            "14",
            34,
            ((3, 2016000), (4, 2803200), (1, 3360000)),
            _thermals(
                [
                    ("0.0", 3, "SUBBAT"),
                    ("31.8", 3, "SKIN"),
                    ("33.0", 0, "AP"),
                    ("29.0", 2, "BAT"),
                    ("30.0", 9, "CP"),
                ],
                thresholds=[(3, "SKIN", "[NaN, NaN, NaN, NaN, NaN, NaN, NaN]")],
            ),
            maker="samsung",
        ),
        Profile(
            "xiaomi",
            "2211133C",
            "SM8550",
            "13",
            33,
            ((3, 2016000), (4, 2803200), (1, 3187200)),
            _thermals(
                [("36.1", 3, "xo_therm", 1), ("45.0", 0, "cpu-1-1"), ("33.0", 2, "battery")],
                status=1,
                thresholds=[(3, "xo_therm", "[36.0, 46.0, 52.0, 55.0, 60.0, 65.0, 70.0]")],
            ),
            maker="Xiaomi",
        ),
        Profile(
            "no-sensors",
            "Generic",
            "mt6765",
            "11",
            30,
            ((4, 1800000), (4, 2300000)),
            _thermals([], ready=False),
            maker="Generic",
        ),
    )
}
