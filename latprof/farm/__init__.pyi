from latprof.farm.announcing import FarmDevice as FarmDevice
from latprof.farm.announcing import devices_here as devices_here
from latprof.farm.farm_keys import make_keys as make_keys
from latprof.farm.farm_status import FarmStatus as FarmStatus
from latprof.farm.farm_status import status as status
from latprof.farm.joining import join as join
from latprof.farm.starting import start as start
