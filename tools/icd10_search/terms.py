"""Words of clinical English: abbreviations, canonical forms, cues and headings.

Written for this tool from general knowledge; no row of an outside terminology is copied here.
Expansions are phrased the way the ICD-10-CM tabular list phrases its titles.
"""

from __future__ import annotations

__all__ = [
    "ABBREVIATIONS",
    "CANONICAL",
    "CASED",
    "FAMILY_CUES",
    "HEADINGS",
    "HISTORICAL_CUES",
    "JOINED_PREFIXES",
    "NEGATION_AFTER",
    "NEGATION_BEFORE",
    "NOT_A_CONDITION",
    "PHRASES",
    "POSSIBLE_AFTER",
    "POSSIBLE_BEFORE",
    "SCOPE_ENDS",
    "STOP_WORDS",
    "TELLING",
    "WEAK_WORDS",
    "words_of",
]


def words_of(block: str) -> frozenset[str]:
    """The words of a block of text."""
    return frozenset(block.split())


def _pairs(block: str) -> dict[str, str]:
    """The `key = value` lines of a block."""
    rows = (line.split("=", 1) for line in block.strip().splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, value in rows}


def _weights(block: str) -> dict[str, float]:
    """The words of `weight = word word …` lines, each with its weight."""
    rows = (line.split("=", 1) for line in block.strip().splitlines())
    return {word: float(weight) for weight, words in rows for word in words.split()}


# One entry a line: what clinicians write = what the tabular list says.
ABBREVIATIONS: dict[str, str] = _pairs(
    """
    aaa = abdominal aortic aneurysm
    abd = abdominal
    acs = acute ischemic heart disease
    add = attention deficit disorder
    adhd = attention deficit hyperactivity disorder
    af = atrial fibrillation
    afib = atrial fibrillation
    aflutter = atrial flutter
    aids = human immunodeficiency virus disease
    aki = acute kidney failure
    als = amyotrophic lateral sclerosis
    aml = acute myeloblastic leukemia
    ams = altered mental status
    ards = acute respiratory distress syndrome
    arf = acute kidney failure
    ascad = atherosclerotic heart disease native coronary artery
    ascvd = atherosclerotic heart disease
    asd = atrial septal defect
    avm = arteriovenous malformation
    avn = osteonecrosis
    bcc = basal cell carcinoma skin
    bppv = benign paroxysmal vertigo
    bph = benign prostatic hyperplasia
    cabg = aortocoronary bypass graft presence
    cad = atherosclerotic heart disease native coronary artery
    cap = pneumonia
    cdiff = enterocolitis clostridium difficile
    chb = atrioventricular block complete
    chd = atherosclerotic heart disease
    chf = congestive heart failure
    ckd = chronic kidney disease
    cll = chronic lymphocytic leukemia
    cml = chronic myeloid leukemia
    cmv = cytomegaloviral disease
    copd = chronic obstructive pulmonary disease
    cp = chest pain
    crf = chronic kidney disease
    crps = complex regional pain syndrome
    csf = cerebrospinal fluid
    cts = carpal tunnel syndrome
    cva = cerebral infarction
    cvd = cerebrovascular disease
    ddd = intervertebral disc degeneration
    dic = disseminated intravascular coagulation
    djd = osteoarthritis
    dka = diabetes mellitus with ketoacidosis
    dlbcl = diffuse large b cell lymphoma
    dm = diabetes mellitus
    dm1 = type 1 diabetes mellitus
    dm2 = type 2 diabetes mellitus
    dmii = type 2 diabetes mellitus
    doe = dyspnea
    dvt = acute embolism and thrombosis of deep veins of lower extremity
    eds = ehlers danlos syndrome
    esrd = end stage kidney disease
    etoh = alcohol
    fuo = fever
    fx = fracture
    gad = generalized anxiety disorder
    gbs = guillain barre syndrome
    gca = giant cell arteritis
    gdm = gestational diabetes mellitus
    gerd = gastro-esophageal reflux disease
    gi = gastrointestinal
    gib = gastrointestinal hemorrhage
    gn = glomerulonephritis
    ha = headache
    hbv = viral hepatitis b
    hcc = liver cell carcinoma
    hcm = hypertrophic cardiomyopathy
    hcv = viral hepatitis c
    hf = heart failure
    hfpef = diastolic heart failure
    hfref = systolic heart failure
    hit = heparin induced thrombocytopenia
    hiv = human immunodeficiency virus disease
    hld = hyperlipidemia
    hlp = hyperlipidemia
    hnp = intervertebral disc displacement
    hpv = papillomavirus
    hsv = herpesviral infection
    htn = hypertension
    hus = hemolytic uremic syndrome
    ibd = inflammatory bowel disease
    ibs = irritable bowel syndrome
    ich = intracerebral hemorrhage
    ida = iron deficiency anemia
    iddm = type 1 diabetes mellitus
    ihd = ischemic heart disease
    ild = interstitial pulmonary disease
    ipf = idiopathic pulmonary fibrosis
    itp = immune thrombocytopenic purpura
    ivdu = drug use
    lad = localized enlarged lymph nodes
    lbp = low back pain
    lbbb = left bundle branch block
    loc = loss of consciousness
    lvh = cardiomegaly
    mdd = major depressive disorder
    mds = myelodysplastic syndrome
    mgus = monoclonal gammopathy
    mi = myocardial infarction
    mr = mitral valve insufficiency
    mrsa = methicillin resistant staphylococcus aureus infection
    ms = multiple sclerosis
    mssa = methicillin susceptible staphylococcus aureus infection
    mva = motor vehicle accident
    mvp = mitral valve prolapse
    nafld = fatty change of liver
    nash = nonalcoholic steatohepatitis
    nhl = non-hodgkin lymphoma
    niddm = type 2 diabetes mellitus
    nph = normal pressure hydrocephalus
    nsclc = malignant neoplasm bronchus lung
    nstemi = non-st elevation myocardial infarction
    oa = osteoarthritis
    ocd = obsessive compulsive disorder
    osa = obstructive sleep apnea
    pad = peripheral vascular disease
    pcos = polycystic ovarian syndrome
    pcp = pneumocystosis
    pe = pulmonary embolism
    pid = female pelvic inflammatory disease
    pkd = polycystic kidney
    pna = pneumonia
    pni = disorder of peripheral nervous system
    pph = postpartum hemorrhage
    psvt = supraventricular tachycardia
    ptsd = post-traumatic stress disorder
    ptx = pneumothorax
    pud = peptic ulcer
    pvcs = ventricular premature depolarization
    pvd = peripheral vascular disease
    ra = rheumatoid arthritis
    rad = asthma
    rbbb = right bundle branch block
    rcc = malignant neoplasm of kidney except renal pelvis
    rls = restless legs syndrome
    rsv = respiratory syncytial virus
    sah = subarachnoid hemorrhage
    sbo = intestinal obstruction
    sbp = spontaneous bacterial peritonitis
    scc = squamous cell carcinoma
    scd = sickle cell disease
    sclc = malignant neoplasm bronchus lung
    sdh = subdural hemorrhage
    siadh = inappropriate secretion antidiuretic hormone
    sle = systemic lupus erythematosus
    sob = shortness of breath
    sss = sick sinus syndrome
    stemi = st elevation myocardial infarction
    svt = supraventricular tachycardia
    t1dm = type 1 diabetes mellitus
    t2dm = type 2 diabetes mellitus
    tb = tuberculosis
    tbi = intracranial injury
    tia = transient cerebral ischemic attack
    tmj = temporomandibular joint disorder
    ttp = thrombotic thrombocytopenic purpura
    tr = tricuspid valve insufficiency
    uc = ulcerative colitis
    uri = acute upper respiratory infection
    urti = acute upper respiratory infection
    uti = urinary tract infection
    vf = ventricular fibrillation
    vfib = ventricular fibrillation
    vre = resistance to vancomycin
    vsd = ventricular septal defect
    vt = ventricular tachycardia
    vtach = ventricular tachycardia
    vte = venous embolism and thrombosis
    vur = vesicoureteral reflux
    vzv = varicella zoster
    wpw = pre-excitation syndrome
    """
)

# Abbreviations that are also words or initials: expanded only when written in capitals.
CASED: frozenset[str] = words_of(
    """
    add aids af cap cp doe ha hit lad loc mi mr ms oa pad pe pcp ra rad sob tr uc vt
    """
)

# Whole phrases, after canonical words were put in place; both sides are normalised alike.
PHRASES: dict[str, str] = _pairs(
    """
    heart attack = myocardial infarction
    stroke = cerebral infarction
    cerebrovascular accident = cerebral infarction
    high blood pressure = hypertension
    elevated blood pressure = elevated blood pressure reading
    hypertensive disorder = hypertension
    high cholesterol = hypercholesterolemia
    elevated cholesterol = hypercholesterolemia
    coronary artery disease = atherosclerotic heart disease native coronary artery
    coronary disease = atherosclerotic heart disease native coronary artery
    acute coronary syndrome = acute ischemic heart disease
    acute kidney injury = acute kidney failure
    end stage renal disease = end stage kidney disease
    acid reflux = gastroesophageal reflux disease
    heartburn = heartburn
    sugar diabetes = diabetes mellitus
    kidney stone = calculus kidney
    nephrolithiasis = calculus kidney
    renal stone = calculus kidney
    ureteral stone = calculus ureter
    gallstone = calculus gallbladder
    cholelithiasis = calculus gallbladder
    pressure sore = pressure ulcer
    bed sore = pressure ulcer
    bedsore = pressure ulcer
    blood clot = embolism thrombosis
    deep vein thrombosis = acute embolism thrombosis deep veins lower extremity
    deep venous thrombosis = acute embolism thrombosis deep veins lower extremity
    brain bleed = intracranial hemorrhage
    head injury = injury head
    slipped disc = intervertebral disc displacement
    herniated disc = intervertebral disc displacement
    disc herniation = intervertebral disc displacement
    back pain = dorsalgia back pain
    knee arthritis = osteoarthritis knee
    hip arthritis = osteoarthritis hip
    degenerative joint disease = osteoarthritis
    torn meniscus = tear meniscus
    broken = fracture
    low blood sugar = hypoglycemia
    high blood sugar = hyperglycemia
    low sodium = hyponatremia
    low potassium = hypokalemia
    high potassium = hyperkalemia
    low platelets = thrombocytopenia
    underactive thyroid = hypothyroidism
    overactive thyroid = hyperthyroidism
    yeast infection = candidiasis
    shingles = herpes zoster
    chicken pox = varicella
    chickenpox = varicella
    whooping cough = pertussis
    flu = influenza
    common cold = acute nasopharyngitis
    short of breath = shortness breath dyspnea
    pain in chest = chest pain
    passing out = syncope
    passed out = syncope
    fainting = syncope
    low back pain = low back pain
    trouble sleeping = insomnia
    difficulty swallowing = dysphagia
    trouble swallowing = dysphagia
    difficulty breathing = dyspnea
    trouble breathing = dyspnea
    shortness breath = shortness breath dyspnea
    burning urination = dysuria
    blood in urine = hematuria
    blood urine = hematuria
    blood stool = melena
    bloody stool = melena
    sleep apnea = sleep apnea
    enlarged prostate = benign prostatic hyperplasia
    prostate enlargement = benign prostatic hyperplasia
    overweight = overweight
    panic attack = panic disorder
    alcoholism = alcohol dependence
    alcohol abuse = alcohol abuse
    smoker = nicotine dependence
    smoking = tobacco use
    cigarette smoking = nicotine dependence cigarette
    drug abuse = psychoactive substance abuse
    cardiac arrest = cardiac arrest
    mitral regurgitation = mitral valve insufficiency
    aortic regurgitation = aortic valve insufficiency
    aortic stenosis = aortic valve stenosis
    mitral stenosis = mitral valve stenosis
    tricuspid regurgitation = tricuspid valve insufficiency
    irregular heartbeat = cardiac arrhythmia
    fast heart rate = tachycardia
    slow heart rate = bradycardia
    fatty liver = fatty change liver
    nasal congestion = nasal congestion
    hay fever = allergic rhinitis
    seasonal allergy = allergic rhinitis seasonal
    pink eye = conjunctivitis
    ear infection = otitis media
    hearing loss = hearing loss
    weight loss = abnormal weight loss
    weight gain = abnormal weight gain
    night sweats = generalized hyperhidrosis
    lump breast = unspecified lump breast
    altered mental status = altered mental status
    confusion = disorientation
    seizure disorder = epilepsy
    fibroid = leiomyoma
    uterine fibroid = leiomyoma uterus
    bowel obstruction = intestinal obstruction
    collapsed lung = pneumothorax atelectasis
    fluid overload = fluid overload
    dilated cardiomyopathy = dilated cardiomyopathy
    """
)

# Single words folded to one form on both sides, titles and texts alike.
CANONICAL: dict[str, str] = _pairs(
    """
    renal = kidney
    hepatic = liver
    cardiac = heart
    gastric = stomach
    cutaneous = skin
    ocular = eye
    bleeding = hemorrhage
    bleed = hemorrhage
    hemorrhagic = hemorrhage
    tumor = neoplasm
    trauma = injury
    traumatic = injury
    emesis = vomiting
    pyrexia = fever
    febrile = fever
    cancer = malignant neoplasm
    carcinoma = malignant neoplasm
    adenocarcinoma = malignant neoplasm
    metastasis = secondary malignant neoplasm
    metastases = secondary malignant neoplasm
    metastatic = secondary malignant neoplasm
    mets = secondary malignant neoplasm
    stone = calculus
    lithiasis = calculus
    adenopathy = enlarged lymph node
    lymphadenopathy = enlarged lymph node
    hypertensive = hypertension
    diabetic = diabetes
    septic = sepsis
    itching = pruritus
    pancreatic = pancreas
    splenic = spleen
    uterine = uterus
    prostatic = prostate
    vesical = bladder
    ii = 2
    iii = 3
    iv = 4
    """
)

JOINED_PREFIXES: frozenset[str] = words_of(
    """
    gastro non post pre hyper hypo anti peri intra extra inter sub supra micro macro auto co
    pseudo osteo cardio cerebro broncho thrombo hemi para poly multi neuro semi ultra
    """
)

# Never the start or the end of a mention, and never counted as evidence.
STOP_WORDS: frozenset[str] = words_of(
    """
    a about above after again all also although am an and any are as at be became because been
    before being below between both but by can could did do does doing done down due during
    each few for from further had has have having he her here hers him his how if in into is
    it its itself just like may me might more most must my no nor not now of off on once only
    or our out over own per same shall she should since so some such than that the their them
    then there these they this those through to too towards under until up upon very via was
    we were what when where which while who whom why will with within without would you your
    yet patient patients pt man woman male female boy girl year years old yo day days week
    weeks month months ago hour hours today yesterday mg ml kg mcg daily bid tid qid po prn
    dose tablet noted reported reports states stated complained complains complaining denies
    denied presents presented presenting seen showed shows shown revealed reveals demonstrated
    demonstrates observed found underwent started treated treatment admitted discharged
    referred continued continue performed carried received given taken taking consulted visit
    evaluation follow followup assessment plan impression history past medical surgical social
    family review systems examination exam physical vital signs results result normal dr
    doctor hospital clinic emergency department service room unit case date time name well
    good mild moderate severe slight slightly significant significantly new first second third
    one two three four five several many including included include associated related
    secondary compatible suggestive consistent known possible probable suspected likely
    diagnosis diagnosed diagnoses identified patient's currently recent recently previous
    previously prior increase increased decrease decreased improved improvement
    """
)

# Part of a title's frame and not of what it names; kept, but they weigh little.
WEAK_WORDS: dict[str, float] = _weights(
    """
    0.0 = and or of in the to by for a an on as from at is are
    0.05 = nos
    0.1 = classified elsewhere mention any laterality
    0.12 = unspecified specified with uncomplicated
    0.2 = organism
    0.25 = site part without not
    0.3 = other nontraumatic nonrheumatic noninfective noninfectious noninflammatory encounter
    0.3 = involving affecting caused certain level
    0.4 = condition due complication mellitus native history
    0.5 = disorder type acquired pure primary essential right left bilateral
    0.55 = disease
    0.6 = multiple
    0.7 = syndrome
    """
)

# Body parts, findings' frames and measures: alone they name no condition.
NOT_A_CONDITION: frozenset[str] = words_of(
    """
    right left bilateral upper lower anterior posterior lateral medial proximal distal
    superior inferior middle central peripheral internal external deep superficial side region
    area site part tissue soft wall surface head neck face scalp skull brain eye ear nose
    throat mouth tongue tooth teeth jaw chest breast thorax thoracic lung pulmonary heart
    cardiac rib abdomen abdominal pelvis pelvic back spine spinal cervical lumbar sacral
    shoulder arm elbow forearm wrist hand finger thumb hip thigh knee leg ankle foot toe
    extremity limb joint bone muscle tendon ligament skin nail hair blood vessel artery
    arterial vein venous vascular nerve cord stomach bowel intestine intestinal colon rectum
    anal anus liver kidney bladder ureter urethra urinary urine prostate testis testicular
    scrotum penis uterus ovary ovarian cervix vagina vaginal gland thyroid adrenal pancreas
    spleen gallbladder bile duct lymph node nodes marrow cell cells serum plasma pressure rate
    level levels count value volume function functional type stage grade class system systemic
    acute chronic subacute primary secondary recurrent benign malignant unspecified specified
    other multiple single initial subsequent encounter status care use activity active contact
    exposure screening observation test tests testing laboratory imaging x ray ct mri scan
    ultrasound biopsy procedure surgery surgical resection drug drugs medication medications
    therapy agent device implant graft catheter tube water food diet exercise work home school
    family child children mother father son daughter brother sister adult newborn infant age
    birth pregnancy body index weight height fluid oxygen air general physician services
    equipment motor vehicle car walking driving running sports disease disorder syndrome
    condition problem problems state finding findings sign signs symptom symptoms complication
    complications process episode period complete partial total large small high low positive
    negative open closed reading abnormal change changes valve media free base shaft tip end
    form distribution pattern range response control pathway support nervous mental
    respiratory digestive natural place hospital bed person people language conduct counseling
    education supervision examination administration purposes personal light sound heat color
    size number order line point tract stress tobacco alcohol smoke hours tolerance normal
    still core post elevation elevations reduced echocardiogram mammogram cholesterol aspirin
    hemoglobin full ejection fraction receptor sigmoid endocrine exercises steroid insulin
    glucose sodium potassium calcium iron protein vitamin creatinine platelet platelets
    leukocyte leukocytes neutrophil neutrophils urea culture cultures antibiotic antibiotics
    vaccine vaccination immunization allergy-free nasal oral ocular optic retinal corneal
    cranial frontal temporal parietal occipital cerebral mitral aortic tricuspid ventricular
    atrial septal coronary bronchial duodenal gastric mucosa mucosal lesion-free clear intact
    bilaterally compliance nursing planning intervention hospitalization counselling
    monitoring presence absence mass-free carrier donor travel sexual smear antibody
    antibodies antigen virus bacteria bacterial organism cellular plate focus foreign material
    metal muscle-specific agents needle suture closure drainage dialysis transplant ventilator
    machine radiation laser pulse gait posture stance mobility speech voice sleep appetite
    mood affect energy memory cat dog animal sport ball plane bite-free ligation anesthesia
    intubation extension flexion rotation abduction strength sensation sensory reflex reflexes
    stool sputum saliva semen sweat mouthpiece arch rim root 0 1 2 3 4 5 6 7 8 9 10
    """
)

NEGATION_BEFORE: tuple[str, ...] = (
    "no", "not", "denies", "denied", "denying", "deny", "without", "negative for", "absence of",
    "no evidence of", "no sign of", "no signs of", "no history of", "free of", "never", "neither",
    "nor", "ruled out", "rules out", "ruling out", "excluded", "excludes", "absent", "non",
    "lack of", "negative",
)  # fmt: skip
NEGATION_AFTER: tuple[str, ...] = (
    "ruled out", "was excluded", "were excluded", "is absent", "absent", "not present", "negative",
    "unlikely", "not seen", "not detected", "not observed", "not found", "not identified",
    "was not", "were not", "is not", "are not", "denied", "is normal", "was normal", "are normal",
    "were normal", "within normal", "within a normal",
)  # fmt: skip
FAMILY_CUES: tuple[str, ...] = (
    "family history", "mother", "father", "brother", "brothers", "sister", "sisters", "grandmother",
    "grandfather", "aunt", "uncle", "cousin", "sibling", "siblings", "maternal", "paternal", "fh",
    "fhx", "parents", "family",
)  # fmt: skip
TELLING: tuple[str, ...] = (
    "report", "reports", "reported", "say", "says", "said", "state", "states", "stated", "tells",
    "told", "describes", "described", "note", "notes", "noted", "notice", "noticed", "observed",
    "denies", "denied", "brings", "brought",
)  # fmt: skip
HISTORICAL_CUES: tuple[str, ...] = (
    "history of", "h o", "hx of", "status post", "s p", "previous", "previously", "prior",
    "resolved", "remote", "former", "in childhood", "antecedent of", "antecedents of",
)  # fmt: skip
POSSIBLE_BEFORE: tuple[str, ...] = (
    "possible", "possibly", "probable", "probably", "suspected", "suspicion of", "suspicious for",
    "likely", "rule out", "r o", "to exclude", "questionable", "presumptive", "presumed",
    "suggestive of", "suggesting", "suggests", "concern for", "concerning for", "worrisome for",
    "differential", "may be", "may have", "might be", "could be", "cannot exclude", "versus", "vs",
)  # fmt: skip
POSSIBLE_AFTER: tuple[str, ...] = (
    "is suspected", "was suspected", "suspected", "cannot be excluded", "could not be excluded",
    "versus", "vs", "is possible", "is likely", "to be ruled out",
)  # fmt: skip
SCOPE_ENDS: tuple[str, ...] = (
    "but", "however", "although", "except", "though", "which", "who", "because", "presents",
    "presented", "now", "currently", "then", "endorses", "reports", "admits", "positive for",
    "revealed", "shows", "showed",
)  # fmt: skip

# Heading words → what kind of section follows.
HEADINGS: dict[str, str] = _pairs(
    """
    assessment = assessment
    assessment and plan = assessment
    impression = assessment
    diagnosis = assessment
    diagnoses = assessment
    discharge diagnosis = assessment
    discharge diagnoses = assessment
    final diagnosis = assessment
    admission diagnosis = assessment
    problem list = assessment
    problems = assessment
    conclusion = assessment
    plan = assessment
    past medical history = history
    medical history = history
    past history = history
    pmh = history
    pmhx = history
    past surgical history = surgical
    surgical history = surgical
    family history = family
    family medical history = family
    fh = family
    social history = social
    medications = medications
    current medications = medications
    home medications = medications
    allergies = allergies
    review of systems = review
    ros = review
    physical examination = exam
    physical exam = exam
    examination = exam
    exam = exam
    vitals = exam
    vitals reviewed = exam
    results = results
    laboratory results = results
    laboratory = results
    labs = results
    imaging = results
    chief complaint = complaint
    reason for visit = complaint
    history of present illness = story
    hpi = story
    subjective = story
    objective = exam
    instructions = social
    patient agreements = social
    """
)
